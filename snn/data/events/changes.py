"""Random changes of the events of a recording, for training; their order in time is kept up."""

import numpy as np
import numpy.typing as npt

from snn.data.events.binning import Int64, Times

CHANGES = {
    "drop-events": ("drop",),
    "jitter": ("jitter",),
    "shift-drop-jitter": ("drop", "jitter"),  # frames are shifted afterwards
}
"""What happens to events, by value of the setting `augmentation`."""

MOST_DROPPED = 0.5
JITTER = 0.01  # deviation of the time of an event, of the clip


def changed(
    time: Times, place: Times, counts: Int64, kind: str, clip_us: int, draws: np.random.Generator
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], Int64]:
    """Return times, places and counts of recordings, one after another, after a change.

    `drop` removes a share of the events of each recording, drawn evenly up to a half. `jitter`
    moves each event in time, by a normal deviate of a hundredth of the clip; events stay in the
    clip or after it.
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    if "drop" in CHANGES[kind]:
        share = MOST_DROPPED * draws.random(len(counts))
        kept = draws.random(len(time)) >= share[owner]
        time, place, owner = time[kept], place[kept], owner[kept]
        counts = np.bincount(owner, minlength=len(counts))
    if "jitter" in CHANGES[kind]:
        moves = np.rint(draws.standard_normal(len(time)) * (JITTER * clip_us)).astype(np.int64)
        moved = np.clip(np.abs(time + moves), 0, clip_us)
        time = np.where(time <= clip_us, moved, time)
        order = np.argsort((owner << 32) | time, kind="stable")  # times have 32 bits
        time, place = time[order], place[order]
    return time.astype(np.uint32), place.astype(np.uint32), counts
