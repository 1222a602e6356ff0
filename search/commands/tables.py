"""Tables for people: studies, a front, a trial; numbers with their units.

The names of metrics are kept whole in headings (broken after an underscore
where a line is narrow), because `--pick` and a study file ask for them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from rich import box
from rich.table import Table
from rich.text import Text

from search.text.units import duration, figure, moment, percent, scaled
from search.trial.confirmation import Confirmed, Spread
from search.trial.rung import RungReport
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import (
    METRICS,
    ExitReport,
    LayerReport,
    Measurement,
    OperatingPoint,
)

if TYPE_CHECKING:
    from search.store.store import StudySummary

STATE_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}


class PointOfTrial(Protocol):
    """An operating point with the trial that it belongs to (FrontPoint, StoredPoint)."""

    @property
    def trial(self) -> int: ...
    @property
    def point(self) -> OperatingPoint: ...


def heading(name: str) -> str:
    """A metric's name, broken after its underscores."""
    return name.replace("_", "_\n")


def thresholds(point: OperatingPoint) -> str:
    """Exit thresholds of the exits before the last; a dash where there is one exit only."""
    return " ".join(f"{value:.3g}" for value in point.exit_thresholds) or "-"


def plain_table(*columns: str, title: str | None = None, left: Sequence[str] = ()) -> Table:
    """A table without frames; columns are numbers (to the right) unless named in `left`."""
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
    """`20 complete, 1 failed`; states without trials are left out."""
    parts = [f"{by_state[s]} {s.value}" for s in TrialState if by_state.get(s)]
    return ", ".join(parts) or "none"


def studies_table(summaries: Iterable["StudySummary"]) -> Table:
    """A line per study: progress, epochs, size of the front, hypervolume."""
    columns = (
        "study",
        "trials",
        "of",
        "running",
        "failed",
        "epochs",
        "front",
        "hypervolume",
    )
    table = plain_table(*columns, "last change", left=("study", "last change"))
    for summary in summaries:
        states = summary.counts
        hypervolume = summary.hypervolume
        table.add_row(
            Text(summary.name, style="bold"),
            str(sum(n for state, n in states.items() if state.is_finished)),
            str(summary.trials_asked or "-"),
            str(states.get(TrialState.RUNNING, 0)) if summary.is_running else "-",
            str(states.get(TrialState.FAILED, 0)),
            str(summary.epochs_trained),
            str(summary.front_size),
            "-" if hypervolume is None else f"{hypervolume:.4f}",
            moment(summary.last_change_at),
        )
    return table


def front_table(
    points: Sequence[PointOfTrial],
    names: Sequence[str],
    *,
    knee: int | None = None,
    confirmed: Sequence[Confirmed | None] = (),
) -> Table:
    """A line per operating point; the one at index `knee` is marked.

    `confirmed` has what is known of each point from other seeds; where it is
    not empty, the table has a column for it.
    """
    table = plain_table("", "trial", "T", "exits at", "blocks", left=("", "exits at"))
    for name in names:
        table.add_column(heading(name), justify="right", vertical="bottom", overflow="fold")
    if confirmed:
        table.add_column("test\naccuracy", justify="right", vertical="bottom", overflow="fold")
        table.add_column("seeds", justify="right", vertical="bottom", overflow="fold")
    for index, member in enumerate(points):
        point = member.point
        is_knee = index == knee
        table.add_row(
            "knee" if is_knee else "",
            str(member.trial),
            str(point.timesteps),
            thresholds(point),
            str(point.blocks),
            *(figure(name, point.metrics.get(name, math.nan)) for name in names),
            *(_confirmed_cells(confirmed[index]) if confirmed else ()),
            style="bold" if is_knee else None,
        )
    return table


def _confirmed_cells(confirmed: Confirmed | None) -> tuple[str, str]:
    if confirmed is None:
        return "-", "-"
    lost = f" of {len(confirmed.runs)}" if confirmed.seeds_lost else ""
    return spread(confirmed.spread("accuracy")), f"{confirmed.seeds}{lost}"


def spread(accuracy: Spread) -> str:
    """An accuracy over seeds: 97.2 ± 0.3 %."""
    if math.isnan(accuracy.std):
        return percent(accuracy.mean)
    return f"{100 * accuracy.mean:.1f} ± {100 * accuracy.std:.1f} %"


def trials_table(trials: Iterable[Trial], names: Sequence[str]) -> Table:
    """A line per trial: state, its figures at the sampled point, or why there are none."""
    table = plain_table("trial", "state", "epochs", left=("state", "reason"))
    for name in names:
        table.add_column(heading(name), justify="right", vertical="bottom", overflow="fold")
    table.add_column("reason", overflow="fold", vertical="bottom")
    for trial in trials:
        metrics = trial.sampled.metrics if trial.sampled else {}
        table.add_row(
            str(trial.number),
            Text(trial.state.value, style=STATE_STYLES.get(trial.state, "")),
            str(trial.epochs_done),
            *(figure(name, metrics.get(name, math.nan)) for name in names),
            Text(trial.reason),
        )
    return table


def pairs_table(pairs: Mapping[str, object], *, title: str) -> Table:
    """Names and their values, one per line."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.show_header = False
    for name, value in pairs.items():
        table.add_row(Text(f"  {name}"), Text(str(value)))
    return table


def metrics_table(metrics: Mapping[str, float], *, title: str) -> Table:
    """Every figure with its unit and what it means."""
    table = plain_table("metric", "value", "meaning", title=title, left=("metric", "meaning"))
    for column in table.columns:
        column.vertical = "top"
    for name, metric in METRICS.items():
        if name in metrics:
            table.add_row(name, figure(name, metrics[name]), Text(metric.meaning, style="dim"))
    return table


def curves_table(measurements: Sequence[Measurement], *, title: str = "Epochs") -> Table:
    """A line per block and epoch; connections that came and went where any did."""
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
    table = plain_table(*columns, title=title)
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


def rungs_table(reports: Sequence[RungReport], *, stopped_at: int | None) -> Table:
    """A line per operating point that was judged at a rung."""
    names = list(reports[0].sampled.metrics)
    table = plain_table("rung", "epochs", "point", title="Rungs", left=("point", "and then"))
    for name in names:
        table.add_column(heading(name), justify="right", vertical="bottom")
    table.add_column("and then", vertical="bottom")
    for report in reports:
        then = "stopped" if report.rung == stopped_at else "went on"
        for point in report.points:
            table.add_row(
                str(report.rung) if point.is_sampled else "",
                f"{report.epochs_done}/{report.epochs_total}" if point.is_sampled else "",
                "sampled" if point.is_sampled else "of its family",
                *(figure(name, point.metrics[name]) for name in names),
                then if point.is_sampled else "",
            )
    return table


def layers_table(layers: Iterable[LayerReport]) -> Table:
    """A line per spiking layer at full inference."""
    columns = ("block", "layer", "neurons", "weights", "connected", "spikes", "rate")
    table = plain_table(
        *columns,
        heading("synaptic_ops"),
        "macs",
        title="Layers (per image, every block and timestep)",
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


def exits_table(reports: Sequence[ExitReport], *, title: str) -> Table:
    """A line per class, a column per exit: how many images left there, how many were right."""
    exits = sorted({report.exit for report in reports})
    table = plain_table("class", *(f"exit {number}" for number in exits), title=title)
    cells = {(r.label, r.exit): r for r in reports}
    for label in sorted({report.label for report in reports}):
        table.add_row(str(label), *(_exit_cell(cells.get((label, e))) for e in exits))
    return table


def _exit_cell(report: ExitReport | None) -> str:
    if report is None or not report.images:
        return "-"
    hard = " hard" if report.is_hard else ""
    return f"{report.images} left, {percent(report.correct / report.images)} right{hard}"
