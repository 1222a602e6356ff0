"""Rejected configurations: proposed for a trial and found infeasible before they ran.

They are no trials. Each is stored in the sampler state of the trial for which it was
proposed, so that a rebuilt sampler knows it too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search.trial.trial import Trial, TrialState
from snn.settings.config import current_names

REJECTED = "ruled_out"  # their part of a sampler state, as stores have it
SamplerState = Mapping[str, object]


def rejected_of(trial: Trial) -> Iterator[tuple[str, Trial]]:
    """Yield the configurations that were rejected for a trial, in order, each with its key.

    As pruned trials that violate a constraint: samplers are told of them like that.
    """
    notes = trial.sampler_state.get(REJECTED, ())
    assert isinstance(notes, Sequence)
    for place, note in enumerate(notes):
        yield key_of(trial.number, place), rejected_trial(trial.number, note)


def key_of(number: int, place: int) -> str:
    """Return the key of the `place`-th rejected configuration of trial `number`."""
    return f"{number}.{place}"


def rejected_trial(number: int, note: Mapping[str, Any]) -> Trial:
    """Return a configuration rejected for trial `number`, from its `note_of`."""
    return Trial(
        number=number,
        params=current_names(note["params"]),
        state=TrialState.PRUNED,
        constraint_violation=note["violation"],
        sampler_state={part: note[part] for part in ("trial", "inactive") if part in note},
    )


def note_of(trial: Trial) -> dict[str, Any]:
    """Return a rejected configuration as JSON can hold it."""
    return {
        "params": dict(trial.params),
        "violation": trial.constraint_violation,
        **trial.sampler_state,
    }
