"""What Tune remembers of trials that have ended: nothing, so that a driver does not grow.

Tune keeps every trial of an experiment with its last result and statistics of
each figure, some 40 kB, and looks through all of them at every step. Ours are in the
store. This reaches into Tune's controller, of which a test sees that it is as
it is taken to be here.
"""

from typing import Any

KEPT = 8  # the newest ones; Tune does not like an experiment without trials


def forget_ended(controller: Any) -> None:
    """Let the controller forget trials that are over, but for the newest."""
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
