"""Points that were passed over: proposed for a trial and ruled out before they ran.

They are no trials. Each is kept in the sampler state of the trial that was
found behind them, so that a rebuilt sampler knows of them what its predecessor did.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search.trial.trial import Trial, TrialState

RULED_OUT = "ruled_out"  # the part of a sampler's state that holds them
SamplerState = Mapping[str, object]


def rejection(trial: Trial) -> Iterator[tuple[str, Trial]]:
    """The points that a trial passed over, in their order, each with a name of its own.

    As pruned trials that violate a constraint, which is how samplers hear of them.
    """
    for place, note in enumerate(_notes(trial)):
        yield name(trial.number, place), rejected_points(trial.number, note)


def name(number: int, place: int) -> str:
    """What the `place`-th point that was ruled out for trial `number` is called."""
    return f"{number}.{place}"


def rejected_points(number: int, note: Mapping[str, Any]) -> Trial:
    """A point ruled out for trial `number`; what else stands in `note` is not read."""
    return Trial(
        number=number,
        params=note["params"],
        state=TrialState.PRUNED,
        constraint_violation=note["violation"],
        sampler_state={part: note[part] for part in ("trial", "inactive") if part in note},
    )


def note_of(trial: Trial) -> dict[str, Any]:
    """Such a point as JSON can hold it."""
    return {
        "params": dict(trial.params),
        "violation": trial.constraint_violation,
        **trial.sampler_state,
    }


def _notes(trial: Trial) -> Sequence[Mapping[str, Any]]:
    notes = trial.sampler_state.get(RULED_OUT, ())
    assert isinstance(notes, Sequence)
    return notes
