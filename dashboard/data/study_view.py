"""A study and a trial with everything that their pages show, read from a store."""

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.data.points import PointTable
from dashboard.data.stop_reason import StopReason, stop_reason
from dashboard.data.study_table import point_table
from search.store.columns import TrialColumns
from search.store.store import Store, StoredPoint, StoredStudy, StudySummary
from search.study.study import Study, StudyError, study_from_toml
from search.trial.confirmation import Confirmed
from search.trial.rung import RungReport
from search.trial.trial import HypervolumeRecord, Trial, TrialState
from snn.settings.measurement import Evaluation, Measurement


@dataclass(frozen=True, kw_only=True)
class StudyCard:
    """One study at a glance."""

    summary: StudySummary

    @property
    def finished(self) -> int:
        """Trials that nothing more will happen to."""
        return sum(n for state, n in self.summary.counts.items() if state.is_finished)

    @property
    def progress(self) -> float | None:
        """Share of the budget that is spent, of trials or of epochs; None without either."""
        summary = self.summary
        pairs = (
            (self.finished, summary.trials_asked),
            (summary.epochs_trained, summary.epochs_asked),
        )
        return max((min(1.0, spent / asked) for spent, asked in pairs if asked), default=None)

    @property
    def state(self) -> str:
        """`running`, `finished` or `stopped`."""
        if self.summary.is_running:
            return "running"
        is_whole = self.progress == 1.0 or (self.progress is None and self.finished > 0)
        return "finished" if is_whole else "stopped"

    @property
    def elapsed_s(self) -> float:
        """From the study's first row to its last change."""
        return (self.summary.last_change_at - self.summary.created_at).total_seconds()

    @property
    def remaining_s(self) -> float | None:
        """What the rest will take at the pace so far; None where that cannot be told."""
        if self.state != "running" or self.progress is None or self.finished < 2:
            return None
        return self.elapsed_s * (1 - self.progress) / self.progress


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """Everything that the page of one study's front draws."""

    stored: StoredStudy
    study: Study | None  # None when its TOML is of another version of spikefront
    table: PointTable
    trials: TrialColumns
    hypervolumes: tuple[HypervolumeRecord, ...]
    counts: Mapping[TrialState, int]
    epochs_trained: int
    confirmed: Mapping[int, Confirmed]  # points retrained with fresh seeds, by id


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """Everything that the page of one trial draws."""

    trial: Trial
    points: tuple[StoredPoint, ...]  # its family, the sampled one first
    measurements: tuple[Measurement, ...]
    evaluation: Evaluation | None
    rungs: tuple[RungReport, ...] = ()  # where it was judged, the lowest first
    stop_reason: StopReason | None = None  # where it was stopped early, by comparison with others


def read_study(store: Store, name: str) -> StudyView:
    """The front of one study, read now."""
    stored = store.stored_study(name)
    study = parsed_study(stored)
    limits = study.constraints if study else {}
    columns = store.columns(name, tuple(dict.fromkeys((*stored.objectives, *limits))))
    trials = columns.trials
    table = point_table(store, name, columns, stored.objectives, limits)
    return StudyView(
        stored=stored,
        study=study,
        table=table,
        trials=trials,
        hypervolumes=tuple(store.hypervolume(name)),
        counts={s: trials.states.count(s) for s in TrialState if s in trials.states},
        epochs_trained=int(trials.epochs_done.sum()),
        confirmed=store.confirmed(name),
    )


def _parsed(stored: StoredStudy) -> Study | None:
    try:
        return study_from_toml(stored.toml, stored.name)
    except StudyError:
        return None


def partition_of(trial: Trial) -> str:
    """How the trial's network is cut into blocks; empty when that is not known."""
    return trial.config.partition if trial.config else str(trial.params.get("partition", ""))


def read_trial(store: Store, study: str, number: int) -> TrialView:
    """One trial with its family, curves, rungs and layers, read now."""
    trial = store.trial(study, number)
    points = store.operating_points(study, number)
    return TrialView(
        trial=trial,
        points=tuple(sorted(points, key=lambda each: not each.point.is_sampled)),
        measurements=tuple(store.measurements(study, number)),
        evaluation=store.evaluation(study, number),
        rungs=tuple(store.rungs(study, number)),
        stop_reason=stop_reason(store, study, trial),
    )


def parsed_study(stored: StoredStudy) -> Study | None:
    """Return the study of a stored file; None where this version of spikefront cannot read it."""
    try:
        return study_from_toml(stored.toml, stored.name)
    except StudyError:
        return None
