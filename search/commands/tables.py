"""Tables for people: studies, a front, a trial; numbers with their units.

Headings have the whole names of metrics (broken after an underscore where a line is
narrow), because `--pick` and study files use these names.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from search.study.tables import Bound
from search.text.units import duration, figure, moment, percent, scaled
from search.trial.confirmation import Confirmed, Spread
from search.trial.rung import RungReport
from search.trial.trial import TrialState
from snn.settings.measurement import (
    METRICS,
    ExitReport,
    LayerReport,
    Measurement,
    Metrics,
    OperatingPoint,
)
from snn.settings.setting import counted

if TYPE_CHECKING:
    from search.store.store import StudySummary

STATE_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}


def heading(name: str) -> str:
    """Return the name of a metric, broken after its underscores."""
    return name.replace("_", "_\n")


def thresholds(point: OperatingPoint) -> str:
    """Return the exit thresholds of all exits but the last, and that over time; `-` for none."""
    words = [f"{value:.3g}" for value in point.exit_thresholds]
    if point.time_threshold < 1:
        words.append(f"time {point.time_threshold:.3g}")
    return " ".join(words) or "-"


def plain_table(*columns: str, title: str | None = None, left: Sequence[str] = ()) -> Table:
    """Return a table without frames; columns are right-aligned unless named in `left`."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(
            column,
            justify="left" if column in left else "right",
            vertical="bottom",
            overflow="fold",
        )
    return table


def counts(by_state: Mapping[TrialState, int]) -> str:
    """Return `20 complete, 1 failed`, without states that no trial has."""
    parts = [f"{by_state[s]} {s.value}" for s in TrialState if by_state.get(s)]
    return ", ".join(parts) or "none"


def limits(name: str, bound: Bound) -> str:
    """Return `model_bytes <= 400000`, or both sides of a bound."""
    low = [] if bound.min is None else [f"{name} >= {bound.min:g}"]
    return ", ".join(low if bound.max is None else [*low, f"{name} <= {bound.max:g}"])


def hypervolume(value: float | None) -> str:
    """Return a normalised hypervolume with four decimals, `-` where it is not known."""
    return "-" if value is None else f"{value:.4f}"


def studies_table(summaries: Iterable["StudySummary"]) -> Table:
    """Return a row per study: progress, epochs, size of the front, hypervolume."""
    table = plain_table(
        "study",
        "trials",
        "of",
        "running",
        "failed",
        "epochs",
        "front",
        "hypervolume",
        "last change",
        left=("study", "last change"),
    )
    for summary in summaries:
        states = summary.counts
        finished = sum(n for state, n in states.items() if state.is_finished)
        asked = summary.trials_asked or 0  # below what there is after a run with a lower budget
        table.add_row(
            Text(summary.name, style="bold"),
            str(finished),
            str(asked) if asked >= max(finished, 1) else "-",
            str(states.get(TrialState.RUNNING, 0)) if summary.is_running else "-",
            str(states.get(TrialState.FAILED, 0)),
            str(summary.epochs_trained),
            str(summary.front_size),
            hypervolume(summary.hypervolume),
            moment(summary.last_change_at),
        )
    return table


def points_table(
    points: Sequence[OperatingPoint],
    names: Sequence[str],
    *,
    marks: Mapping[int, str],
    trials: Sequence[str] = (),
    confirmed: Sequence[Confirmed | None] = (),
    metrics: Metrics = METRICS,
) -> Table:
    """Return a row per operating point with the metrics `names`; rows in `marks` are bold.

    `trials` are the trial numbers of each point, `confirmed` its results with other
    seeds; both columns are left out where they are empty, and so are the settings of an
    operating point where no point has any: those of an own training.
    """
    is_own = all(point.timesteps == 0 for point in points)
    settings = ["T", "exit threshold", "blocks used"]
    if is_own:
        settings = ["point"] if any(point.label for point in points) else []
    tested = "accuracy" if not is_own or "accuracy" in names else next(iter(names), "accuracy")
    columns = ["", *(("trial",) if trials else ()), *settings]
    columns += map(heading, names)
    columns += [f"test\n{heading(tested)}", "seeds"] if confirmed else []
    table = plain_table(*columns, left=("", "exit threshold", "point"))
    for index, point in enumerate(points):
        table.add_row(
            marks.get(index, ""),
            *trials[index : index + 1],
            *_settings_cells(point, settings),
            *(figure(name, point.metrics.get(name, math.nan), metrics) for name in names),
            *(_confirmed_cells(confirmed[index], tested, metrics) if confirmed else ()),
            style="bold" if index in marks else None,
        )
    return table


def _settings_cells(point: OperatingPoint, settings: Sequence[str]) -> tuple[str, ...]:
    if "T" in settings:
        return str(point.timesteps), thresholds(point), str(point.blocks)
    return (point.label or "-",) if settings else ()


def _confirmed_cells(confirmed: Confirmed | None, metric: str, metrics: Metrics) -> tuple[str, str]:
    if confirmed is None:
        return "-", "-"
    lost = f" of {len(confirmed.runs)}" if confirmed.seeds_lost else ""
    spread = confirmed.spread(metric)
    return _mean_and_std(spread, metric, metrics), f"{confirmed.seeds}{lost}"


def _mean_and_std(accuracy: Spread, metric: str, metrics: Metrics) -> str:
    """Return `97.2 ± 0.3 %`; of another metric than accuracy in its unit."""
    if metric != "accuracy":
        mean, std = (figure(metric, value, metrics) for value in (accuracy.mean, accuracy.std))
        return mean if math.isnan(accuracy.std) else f"{mean} ± {std}"
    if math.isnan(accuracy.std):
        return percent(accuracy.mean)
    return f"{100 * accuracy.mean:.1f} ± {100 * accuracy.std:.1f} %"


def pairs_table(pairs: Mapping[str, object], *, title: str) -> Table:
    """Return names and their values, one per row."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.show_header = False
    for name, value in pairs.items():
        table.add_row(Text(f"  {name}"), Text(str(value)))
    return table


def metrics_table(
    metrics: Mapping[str, float], *, title: str, declared: Metrics = METRICS
) -> Table:
    """Return every metric with its value, unit and meaning."""
    table = plain_table("metric", "value", "meaning", title=title, left=("metric", "meaning"))
    for column in table.columns:
        column.vertical = "top"
    for name, metric in declared.items():
        if name in metrics:
            table.add_row(
                name, figure(name, metrics[name], declared), Text(metric.meaning, style="dim")
            )
    return table


def metric_columns(
    columns: Mapping[str, Mapping[str, float | None]], declared: Metrics = METRICS
) -> Table:
    """Return a row per metric that any has, and a column of values per heading in `columns`."""
    table = plain_table("metric", *columns, left=("metric",))
    for name in declared:
        values = [column.get(name) for column in columns.values()]
        if any(v is not None and not math.isnan(v) for v in values):
            cells = ("-" if v is None else figure(name, v, declared) for v in values)
            table.add_row(name, *cells)
    return table


def reported_table(measurements: Sequence[Measurement], metrics: Metrics) -> Table:
    """Return a row per epoch of an own training, with what it reported."""
    names = list(dict.fromkeys(name for m in measurements for name in m.metrics))
    losses = [name for name in ("loss",) if any(not math.isnan(m.loss) for m in measurements)]
    table = plain_table("epoch", *losses, *map(heading, names), "time", title="Epochs")
    for m in measurements:
        cells = (figure(name, m.metrics.get(name, math.nan), metrics) for name in names)
        loss = [f"{m.loss:.4f}"] if losses else []
        table.add_row(str(m.epoch), *loss, *cells, duration(m.wall_s))
    return table


def curves_table(measurements: Sequence[Measurement]) -> Table:
    """Return a row per block and epoch; rewired connections where there are any."""
    columns = (
        "block",
        "epoch",
        "loss",
        "train",
        "validation",
        "connected",
        *(("regrown", "removed") if any(m.layers for m in measurements) else ()),
        "spike rate",
        "time",
    )
    table = plain_table(*columns, title="Epochs")
    last = None
    for m in measurements:
        changed = (str(m.regrown), str(m.removed)) if "regrown" in columns else ()
        if last is not None and m.block != last:
            table.add_section()
        last = m.block
        table.add_row(
            str(m.block) if m.block else "all",
            str(m.epoch),
            f"{m.loss:.4f}",
            percent(m.train_accuracy),
            percent(m.accuracy),
            percent(m.connectivity),
            *changed,
            f"{m.spike_rate:.4f}",
            duration(m.wall_s),
        )
    return table


def rungs_table(
    reports: Sequence[RungReport], *, stopped_at: int | None, metrics: Metrics = METRICS
) -> Table:
    """Return a row per operating point that was ranked at a rung."""
    names = list(reports[0].sampled.metrics)
    columns = ("rung", "epochs", "point", *map(heading, names), "decision")
    table = plain_table(*columns, title="Rungs", left=("point", "decision"))
    for report in reports:
        decision = "stopped" if report.rung == stopped_at else "continued"
        for point in report.points:
            figures = (figure(name, point.metrics[name], metrics) for name in names)
            if point.is_sampled:
                epochs = f"{report.epochs_done}/{report.epochs_total}"
                table.add_row(str(report.rung), epochs, "sampled", *figures, decision)
            else:
                table.add_row("", "", "other", *figures, "")
    return table


def layers_table(layers: Iterable[LayerReport]) -> Table:
    """Return a row per spiking layer at full inference."""
    table = plain_table(
        "block",
        "layer",
        "neurons",
        "weights",
        "connected",
        "spikes",
        "rate",
        heading("synaptic_ops"),
        "macs",
        title="Layers (per image, all blocks and timesteps)",
        left=("layer",),
    )
    for layer in layers:
        connected = layer.connections / layer.weights if layer.weights else math.nan
        table.add_row(
            str(layer.block),
            layer.name,
            str(layer.neurons),
            str(layer.weights),
            percent(connected),
            scaled(layer.spikes_per_inference),
            f"{layer.spike_rate:.4f}",
            figure("synaptic_ops", layer.synaptic_ops),
            figure("macs", layer.macs),
        )
    return table


def exits_table(reports: Sequence[ExitReport]) -> Table:
    """Return a row per class and a column per exit: images that exit there, share correct."""
    exits = sorted({report.exit for report in reports})
    title = "Exits of the sampled operating point (validation images)"
    table = plain_table("class", *(f"exit {number}" for number in exits), title=title)
    cells = {(r.label, r.exit): r for r in reports}
    for label in sorted({report.label for report in reports}):
        table.add_row(str(label), *(_exit_cell(cells.get((label, e))) for e in exits))
    return table


def _exit_cell(report: ExitReport | None) -> str:
    if report is None or not report.images:
        return "-"
    hard = ", hard class" if report.is_hard else ""
    correct = percent(report.correct / report.images)
    return f"{counted(report.images, 'image')}, {correct} correct{hard}"
