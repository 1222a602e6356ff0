"""Clips: the recordings of one part of a data set, as frames of one config."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn.data.events import series
from snn.data.events.binning import Cut, cut_of, frames
from snn.data.events.changes import changed
from snn.data.events.store import Part, Store, gathered
from snn.settings.config import RunConfig
from snn.settings.datasets import frame_shape

RESIDENT_BYTES = 256 * 2**20
"""Frames up to this size are made once and kept on the device; larger ones for each batch."""

MEASURED = 512
"""Recordings, evenly spread, whose frames are measured for the deviation of the input."""

TOGETHER = 256  # recordings whose frames are made at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """Recordings as frames (time, channels, height, width); `index` are places in the part.

    Used as a tensor of images: indexed by numbers of recordings it returns frames (recordings,
    time, channels, height, width), uint8, or int8 if polarities are signed.
    """

    store: Store
    part: Part
    index: npt.NDArray[np.int64]
    cut: Cut
    device: torch.device
    delta: float = 0.0  # threshold of series, in their unit

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """Recordings, time, channels, height, width."""
        cut = self.cut
        size = frame_shape(self.store.shape, polarity=cut.polarity, shrink=cut.shrink)
        return (len(self), cut.timesteps, *size)

    @functools.cached_property
    def _resident(self) -> Tensor | None:
        """All frames, or None if they are too many."""
        if np.prod(self.shape, dtype=np.int64) > RESIDENT_BYTES or not len(self):
            return None
        places = np.arange(len(self))
        parts = [self._made(p) for p in np.split(places, range(TOGETHER, len(self), TOGETHER))]
        return torch.from_numpy(np.concatenate(parts)).to(self.device)

    def _made(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8] | npt.NDArray[np.int8]:
        part, chosen = self.part, self.index[places]
        start = part.start[chosen]
        counts = part.start[chosen + 1] - start
        return frames(part.time, part.place, counts, self.store.shape, self.cut, start)

    def __getitem__(self, places: Tensor | int) -> Tensor:
        chosen = torch.as_tensor(places)
        if chosen.dim() == 0:
            return self[chosen.view(1)][0]
        if self._resident is not None:
            return self._resident[chosen.to(self.device)]
        return torch.from_numpy(self._made(chosen.cpu().numpy())).to(self.device)

    def changed(self, places: Tensor, kind: str, draws: torch.Generator) -> Tensor:
        """Return the frames at `places` with a random change of their events."""
        seed = int(torch.randint(2**62, (1,), generator=draws, device=draws.device))
        time, place, counts = gathered(self.part, self.index[places.cpu().numpy()])
        now = changed(time, place, counts, kind, self.cut.clip_us, np.random.default_rng(seed))
        made = frames(*now, self.store.shape, self.cut)
        return torch.from_numpy(made).to(self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield the frames in order, `size` recordings at a time."""
        for start in range(0, len(self), size):
            yield self[torch.arange(start, min(start + size, len(self)))]

    @property
    def lengths_ms(self) -> npt.NDArray[np.float64]:
        """Time of the last event of each clip, milliseconds."""
        time, _, counts = gathered(self.part, self.index)
        owner = np.repeat(np.arange(len(counts)), counts)
        ends = np.zeros(len(counts), np.int64)
        np.maximum.at(ends, owner, np.where(time <= self.cut.clip_us, time, 0))
        return ends / 1000

    def subset(self, places: Tensor) -> "Clips":
        """Return the clips at `places`."""
        return replace(self, index=self.index[places.cpu().numpy()])

    def whole_test(self) -> "Clips":
        """Return the test part of the data set, cut in the same way."""
        return _clips(self.store, "test", None, self.cut, self.delta, self.device)

    @functools.cached_property
    def deviation(self) -> float:
        """Standard deviation of the input around 0, over evenly spread recordings.

        Around 0 because weights are not, in general, orthogonal to the mean of the input. The
        sums are of integers, so that the order of additions changes nothing.
        """
        count = min(len(self), MEASURED)
        places = torch.arange(count) * len(self) // max(count, 1)
        squares = values = 0
        for some in places.split(TOGETHER):
            made = self[some].to(torch.int64)
            squares += int((made * made).sum())
            values += made.numel()
        return float(max(squares / max(values, 1), 1e-6) ** 0.5)

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the data, the chosen recordings, and how they are cut."""
        digest = hashlib.sha256(f"{self.store.fingerprint} {self.cut} {self.delta}".encode())
        digest.update(self.index.tobytes())
        digest.update(b"train" if self.part.label is self.store.train.label else b"test")
        return digest.hexdigest()[:16]


def clips_of(
    store: Store,
    part: str,
    index: npt.NDArray[np.int64] | None,
    config: RunConfig,
    device: torch.device | str,
) -> Clips:
    """Return recordings of a part (None: all) as the config cuts them."""
    delta = 0.0
    if config.encoding == "delta":
        delta = config.delta_threshold * max(_deviation(store), 1e-12)
    return _clips(store, part, index, cut_of(config), delta, torch.device(device))


@functools.lru_cache(maxsize=4)
def _deviation(store: Store) -> float:
    return series.deviation(store.train)


@functools.lru_cache(maxsize=4)
def _as_events(store: Store, part: str, delta: float) -> Part:
    own = store.train if part == "train" else store.test
    return series.send_on_delta(own, delta, store.interval_us)


def _clips(
    store: Store,
    part: str,
    index: npt.NDArray[np.int64] | None,
    cut: Cut,
    delta: float,
    device: torch.device,
) -> Clips:
    own = store.train if part == "train" else store.test
    if delta > 0:
        own = _as_events(store, part, delta)
    chosen = np.arange(len(own)) if index is None else index
    return Clips(store=store, part=own, index=chosen, cut=cut, device=device, delta=delta)
