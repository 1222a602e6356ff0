"""The README of an exported folder: what the network is, what it does, what was not counted."""

import math
from collections.abc import Iterable, Mapping, Sequence

from search.export.content import ExportContent
from search.text.units import counted, figure, percent, scaled
from search.trial.confirmation import Confirmed
from snn.settings.backbones import BACKBONES
from snn.settings.measurement import METRICS, ExitReport, LayerReport


def model_card(content: ExportContent) -> str:
    """The card as Markdown."""
    parts = [
        _head(content),
        _figures(content),
        _architecture(content),
        _layers(content.layers),
        _exits(content.exits),
        _training(content),
        _again(content),
        _counted(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(content: ExportContent) -> str:
    config, origin = content.config, content.origin
    accuracy = percent(content.point.metrics["accuracy"])
    where = "trained without a search"
    title = f"{config.backbone} on {config.dataset}"
    if origin.study is not None:
        where = f"trial {origin.trial} of the study `{origin.study}`"
        title = f"{origin.study}, trial {origin.trial}: {title}"
    lines = [
        f"# {title}",
        "",
        (
            f"A spiking neural network that classifies {config.dataset} images; {accuracy} of the "
            f"validation images are right. It is {where}, run at one operating point: "
            f"{_point(content)}."
        ),
    ]
    if origin.question:
        lines += ["", *(f"> {line}".rstrip() for line in origin.question.splitlines())]
    return "\n".join(lines)


def _point(content: ExportContent) -> str:
    point, config = content.point, content.config
    parts = [f"{point.timesteps} of {config.timesteps} timesteps"]
    if config.exits == 1:
        return f"{parts[0]}, one exit"
    thresholds = ", ".join(f"{value:.4g}" for value in config.exit_threshold)
    parts.append(f"{config.exits} exits, the earlier ones at a confidence of {thresholds}")
    if config.detector == "predicted" and point.detector_threshold < 1:
        parts.append("leaving early only where the predicted class is easy")
    elif config.detector in ("mass", "head"):
        limit = f"{point.detector_threshold:.4g}"
        parts.append(f"leaving early with a probability of being hard of at most {limit}")
    parts.append(f"outputs of the exits combined: {config.exit_combination}")
    return "; ".join(parts)


def _figures(content: ExportContent) -> str:
    validation = content.point.metrics
    test = content.test.sampled.metrics if content.test else None
    images = f" ({content.images} images)" if content.images else ""
    columns = ["figure", f"validation{images}"]
    if content.test:
        columns.append(f"test ({content.test.images} images)")
    rows = [
        [
            f"`{name}`",
            figure(name, validation.get(name, math.nan)),
            *_test(name, test),
            metric.meaning,
        ]
        for name, metric in METRICS.items()
    ]
    table = _table([*columns, "meaning"], rows)
    parts = ["## Figures", table, _selection(content), _confirmed(content.confirmed)]
    return "\n\n".join(part for part in parts if part)


def _confirmed(confirmed: Confirmed | None) -> str:
    if confirmed is None or not confirmed.seeds:
        return ""
    names = [name for name in METRICS if name != "training_s"]
    rows = []
    for name in names:
        spread = confirmed.spread(name)
        std = "-" if math.isnan(spread.std) else figure(name, spread.std)
        rows.append([f"`{name}`", figure(name, spread.mean), std])
    lost = f"; {confirmed.seeds_lost} more gave no figures" if confirmed.seeds_lost else ""
    text = (
        f"The same config was trained anew with {counted(confirmed.seeds, 'other seed')}{lost}, "
        "which draw initial weights, batches, noise and the images that are held out, and run at "
        f"this operating point on the {confirmed.images} test images. The weights in this folder "
        "are not among them."
    )
    table = _table(["figure", "mean on test images", "standard deviation over seeds"], rows)
    return f"### With other seeds\n\n{text}\n\n{table}"


def _test(name: str, metrics: Mapping[str, float] | None) -> list[str]:
    return [] if metrics is None else [figure(name, metrics.get(name, math.nan))]


def _selection(content: ExportContent) -> str:
    if content.origin.study is None:
        return "The thresholds were given, not chosen by these figures."
    chosen = (
        "This operating point was chosen by its validation figures, so they flatter it a little"
    )
    if content.test:
        return f"{chosen}; no choice has seen the test images."
    return f"{chosen}. It was not run on the test images: `spikefront evaluate . --test` does."


def _architecture(content: ExportContent) -> str:
    config = content.config
    facts = {
        "backbone": f"{config.backbone}: {BACKBONES[config.backbone].meaning}",
        "width": str(config.width),
        "blocks (units in each)": f"`{config.partition}`, an exit behind each",
        "exit heads": f"{config.head_hidden} hidden spiking neurons, pooled to "
        f"{config.head_grid}x{config.head_grid}",
        "readout": f"{config.readout}, {config.votes} "
        f"{'target' if config.votes == 1 else 'targets, averaged,'} per class",
        "pooling": config.pooling,
        "neurons": ("learned in every layer from " if config.neuron == "learned" else "")
        + f"leak {config.leak:.4g}, threshold {config.threshold:.4g}, "
        f"{config.reset} reset",
        "input": f"{config.encoding} encoding, {config.timesteps} timesteps in training",
        "normalisation": config.norm,
    }
    if content.trained_as is not None:
        facts["cut from"] = (
            f"a network of blocks `{content.trained_as.partition}`: the blocks that this operating "
            "point never reaches were left away"
        )
    return "## Architecture\n\n" + _list(facts)


def _layers(layers: Sequence[LayerReport]) -> str:
    if not layers:
        return ""
    columns = [
        "block",
        "layer",
        "neurons",
        "connections",
        "of possible",
        "spikes",
        "rate",
        "ops",
    ]
    rows = [
        [
            str(layer.block),
            layer.name,
            str(layer.neurons),
            str(layer.connections),
            percent(layer.connections / layer.weights) if layer.weights else "-",
            scaled(layer.spikes_per_inference),
            f"{layer.spike_rate:.4f}",
            scaled(layer.synaptic_ops),
        ]
        for layer in layers
    ]
    note = "Per image at full inference: every block, every trained timestep."
    return f"### Layers\n\n{note}\n\n{_table(columns, rows)}"


def _exits(reports: Sequence[ExitReport]) -> str:
    if not reports:
        return ""
    total = sum(report.images for report in reports)
    rows = []
    for number in sorted({report.exit for report in reports}):
        here = [report for report in reports if report.exit == number]
        images = sum(report.images for report in here)
        correct = sum(report.correct for report in here)
        hard = ", ".join(str(report.label) for report in here if report.is_hard)
        rows.append(
            [
                str(number),
                percent(images / total) if total else "-",
                percent(correct / images) if images else "-",
                hard or "none",
            ]
        )
    table = _table(["exit", "images that leave", "of them right", "classes hard there"], rows)
    return f"### Exits\n\nOn the validation images, at this operating point.\n\n{table}"


def _training(content: ExportContent) -> str:
    config = content.config
    environment = content.environment
    facts = {
        "data": f"{config.dataset}, fingerprint {_code(content.data_fingerprint)}; "
        f"{percent(config.validation_fraction)} of the training images held out for validation",
        "rules": f"{config.space_rule} in space, {config.time_rule} in time",
        "optimizer": f"{config.optimizer}, peak step {config.learning_rate:.4g}, "
        f"{config.schedule}, {config.epochs} epochs per block, batches of {config.batch_size}",
        "dropout": percent(config.dropout),
        "target sparsity": percent(config.target_sparsity),
        "seed": str(config.seed),
        "weights": f"SHA-256 {_code(content.weights_sha256)}",
        "environment": ", ".join(f"{name} {value}" for name, value in environment.items()),
    }
    return "## Training\n\n" + _list(facts)


def _again(content: ExportContent) -> str:
    lines = [
        "spikefront evaluate .          # the figures above, on the validation images",
        "spikefront evaluate . --test   # on the test images",
        "spikefront train .             # the same weights again, from nothing",
    ]
    text = "## Run it again\n\n```\n" + "\n".join(lines) + "\n```\n\n"
    if content.graphs:
        text += (
            f"`{content.graphs[0]}` is the network as a NIR graph, for other simulators and chips "
            "(https://neuroir.org); `network.json` says how its input is made, its output read, "
            "and how exits work together.\n\n"
        )
    return text + (
        "`config.toml` holds every setting and may stand in the `[run]` table of a study file; "
        "`metrics.json` has these figures in full precision, and more. The folder needs no store."
    )


def _counted() -> str:
    return (
        "## What was counted, and what was not\n\n"
        "Operations are counted spike by spike through the connections that exist, not estimated; "
        "the energy is an estimate from them with published constants for 45 nm arithmetic. "
        "Memory traffic, control and idle power, data loading and image preprocessing are not "
        "counted, so the energy serves to compare networks, not to predict a battery. "
        "The training memory is what tensors need, without the framework around them; the "
        "training time is wall time of the machine that trained."
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in x) + " |" for x in lines
    )


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}**: {text}" for name, text in facts.items())


def _code(text: str | None) -> str:
    return f"`{text}`" if text else "not known"
