"""The README of an exported folder: the network, its metrics, and what was not counted."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import jinja2

from search.export.content import ExportContent
from search.text.units import figure, percent, scaled
from snn.settings.architecture import format_architecture
from snn.settings.backbones import BACKBONES
from snn.settings.config import RunConfig
from snn.settings.datasets import is_recorded, sample_of
from snn.settings.setting import counted

TEMPLATE = "model_card.md.jinja"


def model_card(content: ExportContent) -> str:
    """Return the card as Markdown."""
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown, no HTML
        keep_trailing_newline=True,
    )
    engine.filters.update(percent=percent, counted=counted, code=_code, each=_each)
    facts = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
    return engine.get_template(TEMPLATE).render(
        facts,
        architecture=_architecture(content.config),
        sample=sample_of(content.config.dataset),
        inputs=_inputs(content.config),
        making=_making(content.config),
        thresholds=", ".join(f"{value:.4g}" for value in content.config.exit_threshold),
        figure_columns=list(_columns(content)),
        figures=list(_figures(content)),
        confirmed_rows=list(_confirmed(content)),
        layer_rows=list(_layers(content)),
        exit_rows=list(_exits(content)),
    )


def _architecture(config: RunConfig) -> str:
    """Return the text of an architecture, with name and meaning if it has them."""
    text = f"`{format_architecture(config.units)}`"
    if not config.backbone:
        return text
    return f"{config.backbone}, {BACKBONES[config.backbone].meaning}: {text}"


def _inputs(config: RunConfig) -> str:
    """Return type and axes of what the network is called with."""
    if not is_recorded(config.dataset):
        return "uint8, images x channels x height x width"
    kind = "int8" if config.polarity == "signed" else "uint8"
    return f"{kind}, recordings x {config.timesteps} timesteps x channels x height x width"


def _making(config: RunConfig) -> list[str]:
    """Return how a recording becomes the input, a sentence for each step."""
    if not is_recorded(config.dataset):
        return []
    used = f"{config.used_ms:.5g} ms"
    binned = {
        "window": f"the first {used} in {config.timesteps} bins of {config.step_ms or 0:.5g} ms",
        "whole": f"{config.timesteps} equal parts of the time from its first to its last event, "
        f"of those in the first {used}",
        "count": f"{config.timesteps} bins with equal numbers of events, of those in the first "
        f"{used}",
    }[config.binning]
    found = [f"time, from the recording's start: {binned}; an event at the very end is in the last"]
    if config.encoding == "delta":
        found.append(
            f"a sample becomes an event for each {config.delta_threshold:.4g} standard deviations "
            "of the training part that it differs from its channel's last event"
        )
    polarities = {
        "two": "OFF is channel 0, ON is channel 1",
        "merged": "OFF and ON events are one channel",
        "signed": "1 where there are more ON than OFF events, -1 where there are fewer",
        "": "one channel",
    }
    found.append(f"polarity: {polarities[config.polarity]}")
    if config.shrink > 1:
        found.append(f"{config.shrink}x{config.shrink} pixels are one input")
    if config.polarity != "signed":
        values = {"binary": "1 where there is any event", "counts": "the number of events, to 255"}
        found.append(f"value: {values[config.event_value]}")
    return found


def _code(text: str | None) -> str:
    return f"`{text}`" if text else "not known"


def _each(value: float | tuple[float, ...]) -> str:
    """Return a number, or those of the blocks."""
    return ", ".join(f"{one:.4g}" for one in (value if isinstance(value, tuple) else (value,)))


def _columns(content: ExportContent) -> Iterator[str]:
    yield "metric"
    yield f"validation ({counted(content.images, 'image')})" if content.images else "validation"
    if content.test is not None:
        yield f"test ({counted(content.test.images, 'image')})"
    yield "meaning"


def _figures(content: ExportContent) -> Iterator[list[str]]:
    columns = [content.point.metrics]
    if content.test is not None:
        columns.append(content.test.sampled.metrics)
    declared = content.origin.metrics
    for name, metric in declared.items():
        values = [metrics.get(name, math.nan) for metrics in columns]
        if not all(map(math.isnan, values)):
            cells = [figure(name, value, declared) for value in values]
            yield [f"`{name}`", *cells, metric.meaning]


def _confirmed(content: ExportContent) -> Iterator[list[str]]:
    if content.confirmed is None:
        return
    declared = content.origin.metrics
    for name in declared:
        if name != "training_s":
            spread = content.confirmed.spread(name)
            cells = (figure(name, value, declared) for value in (spread.mean, spread.std))
            yield [f"`{name}`", *cells]


def _layers(content: ExportContent) -> Iterator[list[object]]:
    for layer in content.layers:
        yield [
            layer.block,
            layer.name,
            layer.neurons,
            layer.connections,
            percent(layer.connections / layer.weights) if layer.weights else "-",
            scaled(layer.spikes_per_inference),
            f"{layer.spike_rate:.4f}",
            scaled(layer.synaptic_ops),
        ]


def _exits(content: ExportContent) -> Iterator[list[object]]:
    total = sum(report.images for report in content.exits)
    for number in sorted({report.exit for report in content.exits}):
        here = [report for report in content.exits if report.exit == number]
        images = sum(report.images for report in here)
        correct = sum(report.correct for report in here)
        hard = ", ".join(str(report.label) for report in here if report.is_hard)
        yield [
            number,
            percent(images / total) if total else "-",
            percent(correct / images) if images else "-",
            hard or "none",
        ]
