"""What a data set of recordings is like, and what a cut of it loses."""

from dataclasses import dataclass, replace

import numpy as np

from snn.data.events import series
from snn.data.events.binning import Cut, bins, frames
from snn.data.events.store import Store, gathered
from snn.settings.setting import counted

SAMPLED = 256  # training recordings, evenly spread, whose frames are counted


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of the training part; shares are fractions."""

    recordings: tuple[int, int]  # training, test
    fewest: int  # training recordings of a class
    most: int
    events: tuple[int, int, int]  # of a recording: least, median, most
    length_ms: tuple[float, float, float]  # time of the last event: least, median, most
    cut_share: float  # events after the clip
    padded_share: float  # of the clip, after the last event
    empty_bins: float
    merged_share: float  # events that share an input and a bin with an earlier one
    step_ms: float | None  # None: bins of no fixed length
    unsorted: int
    outside: int

    def lines(self) -> list[str]:
        """Return the figures as lines for people."""
        least, median, most = self.length_ms
        step = "of no fixed length" if self.step_ms is None else f"of {self.step_ms:.4g} ms"
        found = [
            f"{counted(self.recordings[0], 'training recording')} ({self.fewest} to {self.most} "
            f"of a class), {counted(self.recordings[1], 'test recording')}",
            f"{self.events[0]:,} to {self.events[2]:,} events (median {self.events[1]:,}), the "
            f"last one after {least:.4g} to {most:.4g} ms (median {median:.4g} ms)",
            f"timesteps {step}; {_percent(self.cut_share)} of the events are after the clip, "
            f"{_percent(self.padded_share)} of the clip is after the last event",
            f"{_percent(self.empty_bins)} of the timesteps have no event; "
            f"{_percent(self.merged_share)} of the events share an input and a timestep with "
            "another one, and are lost with event_value 'binary'",
        ]
        if self.unsorted:
            found.append(
                f"not in the order of time, so sorted: {counted(self.unsorted, 'recording')}"
            )
        if self.outside:
            found.append(f"outside of the sensor, so dropped: {counted(self.outside, 'event')}")
        return found


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def report(store: Store, cut: Cut, delta_threshold: float = 0.0) -> Report:
    """Return the figures of the training part of a store, cut in one way.

    `delta_threshold` makes events of series, as the setting of this name.
    """
    part = store.train
    if store.interval_us:
        threshold = delta_threshold * max(series.deviation(part), 1e-12)
        part = series.send_on_delta(part, threshold, store.interval_us)
    counts = np.diff(part.start)
    ends = np.zeros(len(part), np.int64)
    ends[counts > 0] = part.time[part.start[1:][counts > 0] - 1]
    chosen = np.arange(min(len(part), SAMPLED)) * len(part) // min(len(part), SAMPLED)
    time, place, own = gathered(part, chosen)
    found = bins(time, own, cut)
    inside = found >= 0
    owner = np.repeat(np.arange(len(own)), own)
    filled = len(np.unique((owner * cut.timesteps + found)[inside]))
    plain = replace(cut, event_value="binary", polarity="merged" if cut.polarity else "")
    if cut.polarity == "two":
        plain = replace(plain, polarity="two")
    kept = int(frames(time, place, own, store.shape, plain).sum(dtype=np.int64))
    per_class = np.bincount(part.label, minlength=len(store.classes))
    clip_ms = cut.clip_us / 1000
    return Report(
        recordings=(len(part), len(store.test)),
        fewest=int(per_class.min()),
        most=int(per_class.max()),
        events=(int(counts.min()), int(np.median(counts)), int(counts.max())),
        length_ms=(ends.min() / 1000, float(np.median(ends)) / 1000, ends.max() / 1000),
        cut_share=1 - float(inside.mean()) if len(inside) else 0.0,
        padded_share=float(np.clip(1 - ends / cut.clip_us, 0, 1).mean()),
        empty_bins=1 - filled / (len(own) * cut.timesteps),
        merged_share=1 - kept / max(int(inside.sum()), 1),
        step_ms=clip_ms / cut.timesteps if cut.binning == "window" else None,
        unsorted=store.unsorted,
        outside=store.outside,
    )


MOST_CUT = 0.05


def suspicions(store: Store, name: str) -> list[str]:
    """Return one line for each property of valid recordings that is probably a mistake."""
    found = []
    for part, labels in (("training", store.train.label), ("test", store.test.label)):
        counts = np.bincount(labels, minlength=len(store.classes))
        absent = [store.classes[label] for label in np.flatnonzero(counts == 0)]
        if absent:
            listed = ", ".join(absent[:10]) + (", ..." if len(absent) > 10 else "")
            found.append(f"{name}: no {part} recording has class {listed}")
    if store.outside:
        found.append(
            f"{name}: outside of the sensor, so dropped: {counted(store.outside, 'event')}"
        )
    if store.unsorted:
        found.append(
            f"{name}: not in the order of time, so sorted: {counted(store.unsorted, 'recording')}"
        )
    if store.unread:
        found.append(
            f"{name}: of no known format, so not read: {counted(len(store.unread), 'file')} beside "
            f"the recordings, like {store.unread[0]}"
        )
    empty = int((np.diff(store.train.start) == 0).sum())
    if empty:
        found.append(f"{name}: without an event: {counted(empty, 'training recording')}")
    return found
