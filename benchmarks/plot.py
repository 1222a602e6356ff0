"""Curves as a picture: SVG, written here because nothing else of ours draws files."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from benchmarks.search.curves import Bundle

WIDTH, HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 210, 34, 48
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c564b")
_POINTS = 150  # along a curve
_Z = 1.645  # standard errors to either side: 90 % of a normal mean


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Maps values to pixels: those across from 0 to `last`, those up from `low` to `high`."""

    last: float
    low: float
    high: float
    across: str
    up: str

    def x(self, value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * value / self.last

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0)


def picture(title: str, bundles: Mapping[str, Bundle], bold: Sequence[str] = ()) -> str:
    """Draw the mean hypervolume of every bundle by trained epochs, with 90 % bands."""
    frame = _frame(bundles)
    curves = {}
    for (name, bundle), colour in zip(bundles.items(), itertools.cycle(_COLOURS)):
        curves[name] = _curve(frame, bundle, colour, is_bold=name in bold)
    return _drawn(title, frame, curves, bold)


def lines(title: str, series: Mapping[str, Sequence[float]], *, across: str, up: str) -> str:
    """Draw values at 1, 2, 3, ... of every series as a line."""
    values = [value for line in series.values() for value in line]
    margin = (max(values) - min(values)) * 0.05
    last = max(map(len, series.values()))
    low, high = min(values) - margin, max(values) + margin
    frame = _Frame(last=last, low=low, high=high, across=across, up=up)
    curves = {
        name: [_line(frame, range(1, len(line) + 1), line, colour, is_bold=True)]
        for (name, line), colour in zip(series.items(), itertools.cycle(_COLOURS))
    }
    return _drawn(title, frame, curves, ())


def _drawn(
    title: str, frame: _Frame, curves: Mapping[str, Sequence[str]], bold: Sequence[str]
) -> str:
    """Return the picture of curves that are SVG already, with axes and a legend."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
        *_axes(frame),
    ]
    for position, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[position % len(_COLOURS)]
        parts.extend(curve)
        y = _TOP + 14 + 18 * position
        x = WIDTH - _RIGHT + 14
        weight = ' font-weight="bold"' if name in bold else ""
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 20}" y2="{y - 4}" stroke="{colour}" '
            'stroke-width="3"/>'
            f'<text x="{x + 26}" y="{y}"{weight}>{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(bundles: Mapping[str, Bundle]) -> _Frame:
    """Return the range from the slowest after a tenth of the budget to just above the best."""
    epochs = max(bundle.values.shape[1] for bundle in bundles.values())
    low = min(float(bundle.mean[epochs // 10]) for bundle in bundles.values())
    high = max(float(bundle.mean[-1] + _Z * bundle.error[-1]) for bundle in bundles.values())
    margin = max((high - low) * 0.05, 1e-6)
    return _Frame(
        last=epochs, low=low - margin, high=high + margin, across="trained epochs", up="hypervolume"
    )


def _axes(frame: _Frame) -> list[str]:
    parts = []
    for value in _ticks(frame.low, frame.high):
        y = frame.y(value)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for value in _ticks(0, frame.last):
        x = frame.x(value)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:g}</text>'
        )
    parts.append(
        f'<path d="M{_LEFT} {_TOP} V{HEIGHT - _BOTTOM} H{WIDTH - _RIGHT}" fill="none" '
        'stroke="#333"/>'
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
        f"{escape(frame.across)}</text>"
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2})">{escape(frame.up)}</text>'
    )
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers in a range."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(power * m for m in (1, 2, 5, 10) if power * m >= rough))
    first = int(np.ceil(low / step))
    return [round(k * step, 10) for k in range(first, int(np.floor(high / step)) + 1)]


def _curve(frame: _Frame, bundle: Bundle, colour: str, *, is_bold: bool) -> list[str]:
    budget = len(bundle.mean)
    at = np.unique(np.linspace(0, budget - 1, _POINTS).astype(int))
    begun = bundle.mean[at] > 0
    at = at[begun]
    xs = [frame.x(epoch + 1) for epoch in at]
    mean, error = bundle.mean[at], _Z * bundle.error[at]
    lower = [f"{x:.1f},{frame.y(v):.1f}" for x, v in zip(xs, mean - error, strict=True)]
    upper = [f"{x:.1f},{frame.y(v):.1f}" for x, v in zip(xs, mean + error, strict=True)]
    return [
        f'<polygon points="{" ".join([*upper, *reversed(lower)])}" fill="{colour}" '
        'fill-opacity="0.15"/>',
        _line(frame, at + 1, mean, colour, is_bold=is_bold),
    ]


def _line(
    frame: _Frame, at: Iterable[float], values: Iterable[float], colour: str, *, is_bold: bool
) -> str:
    points = [f"{frame.x(x):.1f},{frame.y(v):.1f}" for x, v in zip(at, values, strict=True)]
    return (
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
        f'stroke-width="{3 if is_bold else 1.5}"/>'
    )
