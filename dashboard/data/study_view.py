"""A study and a trial with everything that their pages show, read from a store."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dashboard.data import formats
from dashboard.data.points import PointTable
from dashboard.data.stop_reason import StopReason, stop_reason
from dashboard.data.study_table import point_table
from search.store.columns import TrialColumns
from search.store.store import Store, StoredPoint, StoredStudy, StudySummary
from search.study.study import Study, StudyError
from search.text.units import done_of
from search.trial.confirmation import Confirmed
from search.trial.rung import RungReport
from search.trial.trial import HypervolumeRecord, Trial, TrialState
from snn.settings.measurement import METRICS, Evaluation, Measurement, Metrics


@dataclass(frozen=True, kw_only=True)
class StudyCard:
    """The state of one study."""

    summary: StudySummary

    @property
    def finished(self) -> int:
        """The number of trials that ended."""
        return sum(n for state, n in self.summary.counts.items() if state.is_finished)

    @property
    def progress(self) -> float | None:
        """Spent share of the budget of trials or epochs; None without a budget."""
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
        """Seconds from the creation of the study to its last change."""
        return (self.summary.last_change_at - self.summary.created_at).total_seconds()

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds for the rest of the budget; None if they cannot be estimated."""
        if self.state != "running" or self.progress is None or self.finished < 2:
            return None
        return self.elapsed_s * (1 - self.progress) / self.progress

    @property
    def facts(self) -> list[str]:
        """Progress in words: trials, epochs, states, time."""
        summary = self.summary
        words = [f"{done_of(self.finished, summary.trials_asked, 'trial')} finished"]
        words.append(done_of(summary.epochs_trained, summary.epochs_asked, "epoch"))
        words += [
            f"{summary.counts[state]:,} {state_word(state, is_running=summary.is_running)}"
            for state in SHOWN_STATES
            if summary.counts.get(state)
        ]
        if self.remaining_s is not None:
            words.append(f"about {formats.duration(self.remaining_s)} left")
        words.append(f"last change {formats.ago(summary.last_change_at)}")
        return words


SHOWN_STATES = (TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED, TrialState.FAILED)


def state_word(state: TrialState, *, is_running: bool) -> str:
    """Return the state of a trial; a trial that runs in a study without a driver is interrupted."""
    return "interrupted" if state is TrialState.RUNNING and not is_running else str(state)


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """All that the page of a front shows."""

    stored: StoredStudy
    study: Study | None  # None when its TOML is of another version of spikefront
    table: PointTable
    trials: TrialColumns
    hypervolumes: tuple[HypervolumeRecord, ...]
    counts: Mapping[TrialState, int]
    epochs_trained: int
    confirmed: Mapping[int, Confirmed]  # points retrained with new seeds, by id

    @property
    def known_hypervolumes(self) -> tuple[list[int], list[float]]:
        """Trials and finite hypervolumes after them, in the order of their end."""
        known = [record for record in self.hypervolumes if math.isfinite(record.value)]
        return [record.trial for record in known], [record.value for record in known]


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """All that the page of a trial shows."""

    trial: Trial
    points: tuple[StoredPoint, ...]  # the sampled one first
    measurements: tuple[Measurement, ...]
    evaluation: Evaluation | None
    rungs: tuple[RungReport, ...] = ()  # that the trial reached, lowest first
    stop_reason: StopReason | None = None  # of an early stop by comparison with other trials
    metrics: Metrics = field(default_factory=lambda: METRICS)  # of the study


def read_study(store: Store, name: str) -> StudyView:
    """Read a study with its front. Raises StoreError if the store has no such study."""
    stored = store.stored_study(name)
    study = parsed_study(stored)
    limits = study.constraints if study else {}
    columns = store.columns(name, tuple(dict.fromkeys((*stored.objectives, *limits))))
    trials = columns.trials
    table = point_table(
        store, name, columns, stored.objectives, limits, shown_metrics(stored, study)
    )
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


def shown_metrics(stored: StoredStudy, study: Study | None) -> Metrics:
    """Return the metrics that pages offer: of an own training those that it usually reports."""
    if study is None or study.train is None:
        return stored.metrics
    return {name: study.metrics[name] for name in (*study.reported, "training_s")}


def _parsed(stored: StoredStudy) -> Study | None:
    try:
        return stored.study()
    except StudyError:
        return None


def partition_of(trial: Trial) -> str:
    """Return the partition of the trial's network into blocks; "" if unknown."""
    config = trial.engine_config
    return config.partition if config else str(trial.params.get("partition", ""))


def read_trial(store: Store, study: str, number: int) -> TrialView:
    """Read a trial with points, curves, rungs and layers. Raises StoreError if there is none."""
    trial = store.trial(study, number)
    points = store.operating_points(study, number)
    return TrialView(
        trial=trial,
        points=tuple(sorted(points, key=lambda each: not each.point.is_sampled)),
        measurements=tuple(store.measurements(study, number)),
        evaluation=store.evaluation(study, number),
        rungs=tuple(store.rungs(study, number)),
        stop_reason=stop_reason(store, study, trial),
        metrics=store.stored_study(study).metrics,
    )


def parsed_study(stored: StoredStudy) -> Study | None:
    """Return the study of a stored file; None where this version of spikefront cannot read it."""
    try:
        return stored.study()
    except StudyError:
        return None
