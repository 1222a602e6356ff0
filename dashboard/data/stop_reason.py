"""Why a trial was stopped early: what it had measured at the rung, and who was there before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.data import formats
from search.pruners.moasha import RECORDS, Rungs, rule_of
from search.store.store import Store
from search.study.study import StudyError, study_from_toml
from search.trial.rung import RungReport
from search.trial.trial import Trial

MOST_NAMED = 6  # trials that a sentence names


@dataclass(frozen=True, kw_only=True)
class StopReason:
    """A stopped trial at the rung that it did not pass."""

    trial: int
    report: RungReport
    others: Mapping[int, RungReport]  # of the same rung, by trial: those that it was compared with
    superiors: tuple[int, ...]  # of these, who beat it alone
    is_on_front: bool  # of the rung: beaten by nobody, but more were on it than had a place
    rungs: int | None  # of the study; None where its file means nothing to this version

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was measured: objectives and what has a constraint."""
        return tuple(self.report.sampled.metrics)

    @property
    def equals(self) -> tuple[int, ...]:
        """Trials that had measured the very same, because they trained the same."""
        own = [point.metrics for point in self.report.points]
        return tuple(
            number
            for number, report in self.others.items()
            if [point.metrics for point in report.points] == own
        )


def stop_reason(store: Store, study: str, trial: Trial) -> StopReason | None:
    """How the trial was stopped; None unless that was at a rung, by comparison with others."""
    if trial.stopped_rung is None:
        return None
    came = store.rung_until(study, trial.number, trial.stopped_rung, count=RECORDS)
    if not came:  # what diverged there is compared with nobody
        return None
    *earlier, (number, own) = came
    try:
        rule = rule_of(study_from_toml(store.stored_study(study).toml, study))
    except StudyError:
        rule = None
    rungs = None if rule is None else Rungs(rule)
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
    )


def explained(reason: StopReason) -> list[str]:
    """What it had measured at the rung, and against whom it lost."""
    measured = ", ".join(
        f"{formats.label(name).lower()} {formats.quantity(name, value)}"
        for name, value in reason.report.sampled.metrics.items()
    )
    sentences = [f"There it had {measured}."]
    more = len(reason.report.points) - 1
    if more:
        points = "point" if more == 1 else "points"
        sentences.append(f"{more} more {points} of the same weights spoke for it.")
    if reason.others and reason.rungs is not None:
        sentences.append(_lost(reason))
        if reason.equals:
            had = named(reason.equals)
            sentences.append(f"{had[:1].upper()}{had[1:]} had measured the very same.")
    return sentences


def _lost(reason: StopReason) -> str:
    count = len(reason.others)
    before = "1 trial" if count == 1 else f"{count:,} trials"
    if reason.superiors:
        how = "beats it by itself" if len(reason.superiors) == 1 else "beat it by themselves"
        return f"Of the {before} that had come there before, {named(reason.superiors)} {how}."
    if reason.is_on_front:
        return (
            f"None of the {before} that had come there before beats it, but the front there had "
            "more trials than places: those go on that lie furthest apart."
        )
    return (
        f"None of the {before} that had come there before beats all of its points alone: "
        "it lost against several together."
    )


def named(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3 and 5`, `trials 0, 1, 2 and 7 more`."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    shown = [str(number) for number in numbers[:MOST_NAMED]]
    rest = len(numbers) - len(shown)
    last = f"{rest} more" if rest else shown.pop()
    return f"trials {', '.join(shown)} and {last}"
