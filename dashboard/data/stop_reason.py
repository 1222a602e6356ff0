"""The reason of an early stop: metrics at the rung, and the trials compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dashboard.data import formats
from search.pruners.moasha import Moasha
from search.pruners.pruner import RECORDS, pruner_of
from search.store.store import Store
from search.study.study import StudyError
from search.trial.rung import RungReport
from search.trial.trial import Trial
from snn.settings.measurement import METRICS, Metrics
from snn.settings.setting import counted

MOST_NAMED = 6  # trials named in a sentence


@dataclass(frozen=True, kw_only=True)
class StopReason:
    """A trial at the rung where it was stopped."""

    trial: int
    report: RungReport
    others: Mapping[int, RungReport]  # trials compared with, at the same rung
    superiors: tuple[int, ...]  # of these, trials that dominate it by themselves
    is_on_front: bool  # of the rung, when the front had more trials than places
    rungs: int | None  # of the study; None if this version cannot read its file
    declared: Metrics = field(default_factory=lambda: METRICS)  # of the study

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics at the rung: objectives and constrained metrics."""
        return tuple(self.report.sampled.metrics)

    @property
    def equals(self) -> tuple[int, ...]:
        """Trials with equal metrics, because they have the same training."""
        own = [point.metrics for point in self.report.points]
        return tuple(
            number
            for number, report in self.others.items()
            if [point.metrics for point in report.points] == own
        )


def stop_reason(store: Store, study: str, trial: Trial) -> StopReason | None:
    """Return why the trial was stopped; None unless a comparison at a rung was the reason."""
    if trial.stopped_rung is None:
        return None
    came = store.rung_until(study, trial.number, trial.stopped_rung, count=RECORDS)
    if not came:  # a diverged trial is not compared
        return None
    *earlier, (number, own) = came
    stored = store.stored_study(study)
    try:
        pruner = pruner_of(stored.study())
    except StudyError:
        pruner = None
    rungs = pruner if isinstance(pruner, Moasha) else None
    if rungs is not None:
        for each, report in came:
            rungs.restore(each, report)
    return StopReason(
        trial=number,
        report=own,
        others=dict(earlier),
        superiors=rungs.superiors(own.rung, number) if rungs else (),
        is_on_front=bool(rungs and rungs.is_on_front(own.rung, number)),
        rungs=len(rungs.rule.fractions) if rungs else None,
        declared=stored.metrics,
    )


def explained(reason: StopReason) -> list[str]:
    """Return sentences on the metrics at the rung and on the comparison."""
    measured = ", ".join(
        f"{formats.label(name).lower()} {formats.quantity(name, value, reason.declared)}"
        for name, value in reason.report.sampled.metrics.items()
    )
    sentences = [f"Metrics at the rung: {measured}."]
    more = len(reason.report.points) - 1
    if more:
        were = "operating point of this network was" if more == 1 else "operating points were"
        sentences.append(f"{more} more {were} also compared.")
    if reason.others and reason.rungs is not None:
        sentences.append(_lost(reason))
        if reason.equals:
            had = named(reason.equals)
            sentences.append(f"{had[:1].upper()}{had[1:]} had the same metrics.")
    return sentences


def _lost(reason: StopReason) -> str:
    before = counted(len(reason.others), "trial")
    if reason.superiors:
        how = "dominates" if len(reason.superiors) == 1 else "dominate"
        return f"Of the {before} before it at this rung, {named(reason.superiors)} {how} it."
    if reason.is_on_front:
        return (
            f"None of the {before} before it at this rung dominates it, but the front at this rung "
            "had more trials than places. The most widely spread ones continue."
        )
    return (
        f"None of the {before} before it at this rung dominates all of its points, but several "
        "trials together do."
    )


def named(numbers: Sequence[int]) -> str:
    """Return `trial 3`, `trials 3 and 5` or `trials 0, 1, 2 and 7 more`."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    shown = [str(number) for number in numbers[:MOST_NAMED]]
    rest = len(numbers) - len(shown)
    last = f"{rest} more" if rest else shown.pop()
    return f"trials {', '.join(shown)} and {last}"
