"""Why a trial was stopped early: what it had measured at the rung, and who was there before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard import formats
from search.rung import RungReport
from search.stopping import RECORDS, Rungs, rule_of
from search.store import Store
from search.study import StudyError, study_from_toml
from search.trial import Trial

MOST_NAMED = 6  # trials that a sentence names


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A stopped trial at the rung that it did not pass."""

    trial: int
    report: RungReport
    others: Mapping[int, RungReport]  # of the same rung, by trial: those that it was compared with
    superiors: tuple[int, ...]  # of these, who beat it alone
    rungs: int | None  # of the study; None where its file means nothing to this version

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was measured: objectives and what has a constraint."""
        return tuple(self.report.sampled.metrics)


def judgement(store: Store, study: str, trial: Trial) -> Judgement | None:
    """How the trial was stopped; None unless that was at a rung, by comparison with others."""
    if trial.stopped_rung is None:
        return None
    came = store.rung_until(study, trial.number, trial.stopped_rung, count=RECORDS)
    if not came:  # what diverged there is compared with nobody
        return None
    *earlier, (_, own) = came
    found = _superiors(store, study, trial, came)
    return Judgement(
        trial=trial.number,
        report=own,
        others=dict(earlier),
        superiors=found[0],
        rungs=found[1],
    )


def _superiors(
    store: Store, study: str, trial: Trial, came: Sequence[tuple[int, RungReport]]
) -> tuple[tuple[int, ...], int | None]:
    """Who beat it, and how many rungs there are, by the rule of the stored study file."""
    try:
        rule = rule_of(study_from_toml(store.stored_study(study).toml, study))
    except StudyError:
        rule = None
    if rule is None:
        return (), None
    rungs = Rungs(rule)
    for number, report in came:
        rungs.restore(number, report)
    return rungs.superiors(came[-1][1].rung, trial.number), len(rule.fractions)


def explained(judged: Judgement) -> list[str]:
    """Where it was judged, what it had measured there, and against whom it lost."""
    report = judged.report
    of = f" of {judged.rungs}" if judged.rungs else ""
    measured = ", ".join(
        f"{formats.label(name).lower()} {formats.quantity(name, value)}"
        for name, value in report.sampled.metrics.items()
    )
    sentences = [
        f"At rung {report.rung}{of}, after {report.epochs_done} of {report.epochs_total} epochs, "
        f"it had {measured}."
    ]
    more = len(report.points) - 1
    if more:
        points = "point" if more == 1 else "points"
        sentences.append(f"{more} more {points} of the same weights spoke for it.")
    if not judged.others:
        return sentences
    count = len(judged.others)
    before = "1 trial" if count == 1 else f"{count:,} trials"
    if judged.superiors:
        beat = named(judged.superiors)
        how = "beats it by itself" if len(judged.superiors) == 1 else "beat it by themselves"
        sentences.append(f"Of the {before} that had come there before, {beat} {how}.")
    elif judged.rungs is not None:
        sentences.append(
            f"None of the {before} that had come there before beats all of its points alone: "
            "it lost against several together."
        )
    return sentences


def named(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3 and 5`, `trials 0, 1, 2 and 7 more`."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    shown = [str(number) for number in numbers[:MOST_NAMED]]
    rest = len(numbers) - len(shown)
    last = f"{rest} more" if rest else shown.pop()
    return f"trials {', '.join(shown)} and {last}"
