"""The blocks and exits of a network in HTML, which wraps on narrow screens and can be read out.

All text from a store is escaped.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.data import formats
from dashboard.figures.theme import PALETTES, Mode, Palette
from snn.settings.config import RunConfig
from snn.settings.datasets import sample_of
from snn.settings.measurement import ExitReport, LayerReport, OperatingPoint
from snn.settings.prefix import block_units
from snn.settings.setting import counted

STYLE = """<style>
.net { display: flex; flex-wrap: wrap; align-items: stretch; gap: 0.4rem 0;
  font-size: 0.8125rem; line-height: 1.35; }
.net .input, .net .block { border: 1px solid var(--edge); border-radius: 0.5rem;
  padding: 0.6rem 0.75rem; background: var(--surface); }
.net .input { align-self: center; text-align: center; }
.net .block { flex: 1 1 14rem; max-width: 26rem; border-top: 3px solid var(--own);
  display: flex; flex-direction: column; }
.net .off { opacity: 0.45; }
.net .arrow { align-self: center; padding: 0 0.45rem; color: var(--muted); text-align: center;
  min-width: 2.4rem; }
.net .arrow b { display: block; color: var(--text); font-weight: 600; }
.net h4 { font-size: 0.875rem; margin: 0 0 0.35rem; padding: 0; font-weight: 600; }
.net h4 span, .net .muted { color: var(--muted); font-weight: 400; }
.net ul { list-style: none; margin: 0; padding: 0; }
.net li { display: grid; grid-template-columns: minmax(5.2rem, 1fr) 2.6rem 3.4rem; gap: 0.5rem;
  margin: 0; padding: 0.08rem 0; align-items: center; font-size: 0.8125rem; }
.net li span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.net li i { display: block; height: 0.45rem; border-radius: 2px; background: var(--grid);
  overflow: hidden; }
.net li i b { display: block; height: 100%; background: var(--own); }
.net li em { font-style: normal; color: var(--muted); text-align: right; }
.net .back { margin: 0.3rem 0 0; }
.net .exit { margin-top: auto; padding-top: 0.5rem; }
.net .exit p, .net p { font-size: 0.8125rem; }
.net .exit p { margin: 0; border-top: 1px dashed var(--edge); padding-top: 0.4rem; }
.net .exit .share { display: flex; height: 0.5rem; border-radius: 3px; overflow: hidden;
  background: var(--grid); margin-top: 0.3rem; }
.net .exit .share b { background: var(--own); }
.net .exit .share s { background: var(--accent); }
</style>"""


@dataclass(frozen=True, kw_only=True)
class ExitShare:
    """The images that exit at one exit."""

    share: float  # of all images
    accuracy: float | None  # of these images; None without any


def exit_shares(reports: Sequence[ExitReport]) -> dict[int, ExitShare]:
    """Return the shares by exit, from 1."""
    total = sum(report.images for report in reports)
    found = {}
    for number in sorted({report.exit for report in reports}):
        images = sum(r.images for r in reports if r.exit == number)
        correct = sum(r.correct for r in reports if r.exit == number)
        found[number] = ExitShare(
            share=images / total if total else 0.0, accuracy=correct / images if images else None
        )
    return found


def network(
    config: RunConfig,
    point: OperatingPoint | None,
    layers: Sequence[LayerReport],
    exits: Sequence[ExitReport],
    mode: Mode,
) -> str:
    """Return the network from its input to its last exit, at an operating point."""
    palette = PALETTES[mode]
    shares = exit_shares(exits)
    kept = point.blocks if point else config.exits
    parts = [_input(config)]
    staying = 1.0
    for block in range(1, config.exits + 1):
        is_kept = block <= kept
        parts.append(
            _arrow(staying if shares and is_kept else None, is_kept, sample_of(config.dataset))
        )
        parts.append(
            _block(block, config, point, [r for r in layers if r.block == block], shares, palette)
        )
        staying -= shares[block].share if block in shares else 0.0
    colours = (
        f"--edge:{palette.border};--surface:{palette.surface};--muted:{palette.muted};"
        f"--text:{palette.text};--grid:{palette.border};--accent:{palette.accent}"
    )
    label = f"{config.title} cut into blocks {config.partition}"
    return (
        f'{STYLE}<div class="net" role="img" aria-label="{html.escape(label)}" '
        f'style="{colours}">{"".join(parts)}</div>'
    )


def _input(config: RunConfig) -> str:
    return (
        f'<div class="input"><b>{html.escape(config.dataset)}</b><br>'
        f'<span class="muted">{html.escape(config.encoding)}</span></div>'
    )


def _arrow(staying: float | None, is_kept: bool, sample: str) -> str:
    share = (
        ""
        if staying is None or staying > 0.9995
        else f"<b>{formats.quantity('accuracy', staying)}</b>"
    )
    dim = "" if is_kept else " off"
    title = f"share of the {sample}s that reach this block"
    return f'<div class="arrow{dim}" title="{title}">{share}→</div>'


def _block(
    block: int,
    config: RunConfig,
    point: OperatingPoint | None,
    layers: Sequence[LayerReport],
    shares: Mapping[int, ExitShare],
    palette: Palette,
) -> str:
    own = palette.categories[(block - 1) % len(palette.categories)]
    is_kept = point is None or block <= point.blocks
    words = html.escape(block_units(config)[block - 1])
    sample = sample_of(config.dataset)
    rows = "".join(_layer(layer, sample) for layer in layers)
    list_ = f"<ul>{rows}</ul>" if rows else '<p class="muted">not measured</p>'
    return (
        f'<div class="block{"" if is_kept else " off"}" style="--own:{own}">'
        f"<h4>Block {block} <span>· {words}</span></h4>{list_}{_backward(config)}"
        f"{_exit(block, config, point, shares)}</div>"
    )


def _backward(config: RunConfig) -> str:
    """Return a line for each kind of connection that leads back within a block."""
    lines = []
    if config.feedback != "none":
        lines.append("↩ feedback: its output to its first layer")
    if config.recurrence != "none":
        lines.append(f"↻ recurrent connections, {config.recurrence}")
    return "".join(f'<p class="muted back">{html.escape(line)}</p>' for line in lines)


def _layer(layer: LayerReport, sample: str) -> str:
    share = layer.connections / layer.weights if layer.weights else 0.0
    title = (
        f"{counted(layer.neurons, 'neuron')}, {layer.connections:,} of "
        f"{counted(layer.weights, 'connection')}, "
        f"{counted(round(layer.spikes_per_inference, 0), 'spike')} per {sample}"
    )
    name = layer.name.rpartition("exit")[2] if layer.name.startswith("exit") else layer.name
    return (
        f'<li title="{html.escape(title)}"><span>{html.escape(name)}</span>'
        f'<i aria-hidden="true"><b style="width:{100 * share:.1f}%"></b></i>'
        f"<em>{formats.count(layer.spikes_per_inference)}</em></li>"
    )


def _exit(
    block: int, config: RunConfig, point: OperatingPoint | None, shares: Mapping[int, ExitShare]
) -> str:
    depth = point.blocks if point else config.exits
    thresholds = point.exit_thresholds if point else config.exit_threshold
    if block > depth:
        return '<div class="exit"><p class="muted">not used at this operating point</p></div>'
    sample = sample_of(config.dataset)
    if block == depth:
        rule = f"all {'other ' if depth > 1 else ''}{sample}s exit here"
    else:
        threshold = thresholds[block - 1] if block <= len(thresholds) else 1.0
        rule = f"no {sample} exits here" if threshold >= 1 else f"exit threshold {threshold:.3g}"
    found = shares.get(block)
    facts = bar = ""
    if found is not None:
        right = found.share * (found.accuracy or 0.0)
        known = formats.quantity("accuracy", found.accuracy)
        facts = (
            f"<br><b>{formats.quantity('accuracy', found.share)}</b> exit, {known} of them right"
        )
        bar = (
            f'<div class="share" aria-hidden="true"><b style="width:{100 * right:.1f}%"></b>'
            f'<s style="width:{100 * (found.share - right):.1f}%"></s></div>'
        )
    return f'<div class="exit"><p><b>Exit {block}</b> · {rule}{facts}</p>{bar}</div>'
