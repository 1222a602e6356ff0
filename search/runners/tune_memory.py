"""Removes finished trials from Tune's controller, so that the driver's memory does not grow.

Tune keeps about 40 kB per trial and iterates over all trials at every step; the store has them
all. This uses private attributes of the controller, which a test checks.
"""

from typing import Any

KEPT = 8  # newest trials; Tune needs some


def forget_ended(controller: Any) -> None:
    """Remove all but the newest finished trials from the controller."""
    trials = controller._trials
    if len(trials) <= 2 * KEPT:
        return
    ended = controller._stopped_trials | controller._failed_trials
    gone = {trial for trial in trials[:-KEPT] if trial in ended}
    gone -= controller._trial_to_actor.keys()
    trials[:] = [trial for trial in trials if trial not in gone]
    for kept in (
        controller._stopped_trials,
        controller._failed_trials,
        controller._trials_to_cache,
    ):
        kept -= gone
    for trial in gone:
        controller._trial_metadata.pop(trial.trial_id, None)
