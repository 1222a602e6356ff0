"""Progress on a terminal, redrawn in place: running trials and a summary."""

import math
from types import TracebackType
from typing import Self, TextIO

import rich.live
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.runners.progress import RunningTrial, StudyProgress, trial_line
from search.text.units import done_of, duration, figure, percent
from search.trial.trial import Outcome, TrialState
from snn.settings.measurement import Metrics
from snn.settings.setting import counted

STYLES = {
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}


class LiveProgress:
    """Redraws progress at the bottom of a terminal; finished trials scroll above it."""

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream)
        self._progress: StudyProgress | None = None
        self._live = rich.live.Live(
            console=console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, progress: StudyProgress) -> None:
        """Show progress at the next redraw."""
        self._progress = progress

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Print a line above the redrawn part."""
        line = trial_line(number, outcome, progress.objectives, progress.metrics)
        self._live.console.print(Text(line, style=STYLES.get(outcome.state, "")))
        self.update(progress)

    def say(self, text: str) -> None:
        """Print a line above the redrawn part."""
        self._live.console.print(Text(text, style="dim"))

    def _draw(self) -> RenderableType:
        if self._progress is None:
            return Text("starting", style="dim")
        return Group(_running(self._progress), _summary(self._progress))


def _running(progress: StudyProgress) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for trial in progress.running:
        done = ProgressBar(total=trial.epochs_total or None, completed=trial.epochs_done, width=24)
        table.add_row(f"trial {trial.number}", done, _epoch(trial, progress.metrics))
    return table


def _epoch(trial: RunningTrial, metrics: Metrics) -> str:
    m = trial.measurement
    if m is None:
        return "starting"
    block = f"block {m.block}  " if m.block else ""
    if math.isnan(m.accuracy) and m.metrics:  # of an own training
        name, value = next(iter(m.metrics.items()))
        return f"epoch {m.epoch}  {name} {figure(name, value, metrics)}"
    return f"{block}epoch {m.epoch}  accuracy {percent(m.accuracy)}"


def _summary(progress: StudyProgress) -> RenderableType:
    done = done_of(progress.finished, progress.trials_asked, progress.noun)
    parts = [f"{progress.study}: {done}"]
    parts.append(counted(progress.epochs_done, "epoch"))
    if progress.best_accuracy is not None:
        parts.append(f"best accuracy {percent(progress.best_accuracy)}")
    if progress.front_size is not None:
        parts.append(f"front {progress.front_size}")
    if progress.hypervolume is not None:
        parts.append(f"hypervolume {progress.hypervolume:.3f}")
    parts.append(f"{duration(progress.elapsed_s)} so far")
    if progress.left_s is not None:
        parts.append(f"about {duration(progress.left_s)} left")
    return Text(", ".join(parts), style="bold")
