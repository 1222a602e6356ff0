"""The front and hypervolume of a study after each trial, updated in the store."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.front.archive import ArchiveChange, FrontArchive
from search.front.indicators import box_share, in_box, reference_point
from search.front.merged import merge_equal
from search.store.store import Store, StoredPoint
from search.study.study import Study
from search.trial.trial import HypervolumeRecord, Trial, TrialState

SETTLING = 10  # complete trials that determine the reference point


@dataclass(frozen=True, kw_only=True)
class FrontStep:
    """A finished trial: its operating points, and the epochs of the study until then."""

    trial: int
    epochs: int
    points: tuple[StoredPoint, ...]


class FrontHistory:
    """The front of a study, updated in the store after every trial that finishes.

    An update reads only the front and the newest trial. Until the reference point is fixed (the
    first complete trials), each update recomputes all hypervolumes.
    """

    def __init__(self, study: Study, store: Store) -> None:
        self._study = study
        self._store = store
        self._front = self._new_front()
        self._size: int | None = None  # not counted since the last change
        self._early: list[FrontStep] = []  # until the reference point is fixed
        self._completed = 0
        self._reference: Mapping[str, float] = {}
        self.hypervolume: float | None = None
        self.best_accuracy: float | None = None

    @property
    def front_size(self) -> int:
        """Return the number of operating points on the front, equal ones counted once."""
        if self._size is None:
            self._size = len(merge_equal(self._front.members))
        return self._size

    def restore(self, trials: Sequence[Trial]) -> None:
        """Load the front of a study, and complete the updates of a killed driver."""
        finished = [trial for trial in trials if trial.state.is_finished]
        for trial in finished:
            if trial.sampled is not None:
                self._note_accuracy(trial.sampled.metrics)
        completed = sum(trial.state is TrialState.COMPLETE for trial in finished)
        records = self._store.hypervolume(self._study.name)
        reference = self._store.stored_study(self._study.name).reference
        is_whole = len(records) == len(finished)
        if is_whole and reference is not None and completed >= SETTLING:
            self._completed, self._reference = completed, reference
            self._front.take(self._store.operating_points(self._study.name, front_only=True))
            self.hypervolume = records[-1].value
        elif finished:
            self._replay(finished)
        self._size = None

    def add(self, trial: int, state: TrialState, epochs: int) -> None:
        """Add a finished trial; the study has trained `epochs` until then."""
        points: tuple[StoredPoint, ...] = ()
        if state is TrialState.COMPLETE:
            points = tuple(self._store.operating_points(self._study.name, trial))
        was_settling = self._completed < SETTLING
        records, change = self._take(FrontStep(trial=trial, epochs=epochs, points=points), state)
        if was_settling:
            self._keep(records)
        else:
            self._store.change_front(
                self._study.name,
                entered=[point.id for point in change.entered],
                left=[point.id for point in change.left],
                hypervolume=records,
            )

    def _replay(self, finished: Sequence[Trial]) -> None:
        every = self._store.operating_points(self._study.name)
        points = {n: tuple(ps) for n, ps in itertools.groupby(every, key=lambda p: p.trial)}
        records: dict[int, HypervolumeRecord] = {}
        epochs = 0
        for trial in sorted(finished, key=_end):
            epochs += trial.epochs_done
            step = FrontStep(trial=trial.number, epochs=epochs, points=points.get(trial.number, ()))
            for record in self._take(step, trial.state)[0]:
                records[record.trial] = record
        self._keep(list(records.values()))
        if self._completed >= SETTLING:  # named by the trainings of their blocks
            self._front.take(self._store.operating_points(self._study.name, front_only=True))

    def _take(
        self, step: FrontStep, state: TrialState
    ) -> tuple[list[HypervolumeRecord], ArchiveChange[StoredPoint]]:
        """Add a step; returns new or changed records, and the last change of the front."""
        for point in step.points:
            self._note_accuracy(point.point.metrics)
        is_settling = self._completed < SETTLING
        self._completed += state is TrialState.COMPLETE
        if not is_settling:
            record, change = self._step(step)
            return [record], change
        self._early.append(step)
        points = [point for early in self._early for point in early.points]
        self._reference = reference_point(
            points, self._study.objectives, self._study.search.reference, self._study.metrics
        )
        self._front, self._size, self.hypervolume = self._new_front(), None, None
        steps = [self._step(early) for early in self._early]
        if self._completed >= SETTLING:
            self._early.clear()
        return [record for record, _ in steps], steps[-1][1]

    def _step(self, step: FrontStep) -> tuple[HypervolumeRecord, ArchiveChange[StoredPoint]]:
        change = self._front.add(step.points)
        self._size = None if change else self._size
        if change or (step.points and self.hypervolume is None):
            objectives = self._study.objectives
            self.hypervolume = box_share(
                in_box(self._front.values, objectives, self._reference, self._study.metrics)
            )
        value = self.hypervolume or 0.0
        record = HypervolumeRecord(trial=step.trial, epochs=step.epochs, value=value)
        return record, change

    def _new_front(self) -> FrontArchive[StoredPoint]:
        return FrontArchive(self._study.objectives, self._study.constraints, self._study.metrics)

    def _keep(self, records: Sequence[HypervolumeRecord]) -> None:
        self._store.update_front(
            self._study.name,
            [point.id for point in self._front.members],
            reference=self._reference,
            hypervolume=records,
        )

    def _note_accuracy(self, metrics: Mapping[str, float]) -> None:
        accuracy = metrics.get("accuracy", math.nan)
        if math.isnan(accuracy):  # an own training may not report it
            return
        if self.best_accuracy is None or accuracy > self.best_accuracy:
            self.best_accuracy = accuracy


def _end(trial: Trial) -> tuple[float, int]:
    return (trial.finished_at.timestamp() if trial.finished_at else 0.0, trial.number)
