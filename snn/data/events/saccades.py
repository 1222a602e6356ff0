"""Images that a camera with a moving view would see: simulated recordings. They are not N-MNIST.

The view moves along a triangle of three saccades of 105 ms, as the camera of N-MNIST did
(Orchard et al. 2015): an eighth of the image's side to the right and a quarter down, the same up,
and back. Within a saccade, u from 0 to 1, the path is u - sin(2 pi u) / (2 pi). A pixel has an
event ON (OFF) for each CONTRAST by which ln(0.2 + brightness) has risen (fallen) since its last
event, at the time that linear interpolation between milliseconds gives; contrasts differ by 3 %
from pixel to pixel, and a pixel has 0.1 events a second without a cause. All draws are of fixed
seeds: a recording is always the same.
"""

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Events, Form, events_of
from snn.data.events.store import Item, Layout
from snn.data.image_files import SOURCES, Bytes, IdxSource
from snn.settings.datasets import DATASETS

SACCADE_MS, SACCADES = 105, 3
CORNERS = ((0.0, 0.0), (2.0, 1.0), (0.0, 2.0), (0.0, 0.0))  # y, x, in eighths of the image's side
DARK, CONTRAST, SPREAD = 0.2, 0.38, 0.03
NOISE_HZ = 0.1
TOGETHER = 50  # images that are moved at once

Real = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Saccades:
    """Recordings of the images of a data set of grey images."""

    name: str
    images: str

    def layout(self, root: Path) -> Layout:
        source = SOURCES[self.images]
        source.check(root)
        files = source.files(root) if isinstance(source, IdxSource) else ()
        shape, classes = DATASETS[self.name]

        def parts() -> tuple[Iterable[Item], Iterable[Item]]:
            train, test = source.read(root)
            return _items(train.images, train.labels, shape, 0), _items(
                test.images, test.labels, shape, 1
            )

        return Layout(
            name=self.name,
            form=Form(shape=shape, starts_at_zero=True),
            classes=tuple(str(label) for label in range(classes)),
            files=files,
            parts=parts,
        )


def _items(
    images: Bytes, labels: npt.NDArray[np.int64], shape: tuple[int, int, int], part: int
) -> Iterable[Item]:
    title = ("training", "test")[part]
    for start in range(0, len(images), TOGETHER):
        some = images[start : start + TOGETHER, 0]
        for place, events in enumerate(recorded(some, shape[1:], (part, start)), start):
            read = functools.partial(_same, events)
            yield Item(f"{title} image {place}", int(labels[place]), read)


def _same(events: Events) -> Events:
    return events


def recorded(images: Bytes, sensor: tuple[int, int], seed: tuple[int, ...]) -> list[Events]:
    """Return the events of images (images, height, width) on a sensor (height, width)."""
    draws = np.random.default_rng(0)
    contrast = CONTRAST * (1 + SPREAD * draws.standard_normal(sensor))
    # ten digits, so that a library's last bit changes no event
    levels = (np.round(np.log(DARK + view) / contrast, 10) for view in _views(images, sensor))
    before = next(levels)
    last = before.copy()
    found = []
    for step, now in enumerate(levels):
        changes = np.trunc(now - last).astype(np.int64)
        image, y, x = np.nonzero(changes)
        many = np.abs(changes[image, y, x])
        sign = np.sign(changes[image, y, x])
        owner = np.repeat(np.arange(len(many)), many)
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(many) - many, many) + 1
        crossed = last[image, y, x][owner] + sign[owner] * rank
        origin, rise = before[image, y, x][owner], (now - before)[image, y, x][owner]
        share = np.clip(np.round((crossed - origin) / rise, 6), 0, 1)
        time = np.floor((step + share) * 1000).astype(np.int64)
        on = (sign[owner] > 0).astype(np.int64)
        found.append(np.stack([image[owner], time, x[owner], y[owner], on]))
        last += changes
        before = now
    own, noise = np.concatenate(found, axis=1), np.random.default_rng(seed)
    made = []
    for place in range(len(images)):
        mean = NOISE_HZ * sensor[0] * sensor[1] * SACCADES * SACCADE_MS / 1000
        count = int(noise.poisson(mean))
        ends = (SACCADES * SACCADE_MS * 1000, sensor[1], sensor[0], 2)
        chance = np.stack([noise.integers(0, end, count) for end in ends])
        events = np.concatenate([own[1:, own[0] == place], chance], axis=1)
        made.append(events_of(*events[:, np.argsort(events[0], kind="stable")]))
    return made


def _views(images: Bytes, sensor: tuple[int, int]) -> Iterable[Real]:
    """Yield the brightness (images, height, width), from 0 to 1, at each millisecond."""
    height, width = sensor
    side = max(images.shape[1:])
    reach = side // 4 + 1
    above, left = (height - images.shape[1]) // 2, (width - images.shape[2]) // 2
    canvas = np.zeros((len(images), height + 2 * reach, width + 2 * reach))
    canvas[
        :, reach + above : reach + above + images.shape[1],
        reach + left : reach + left + images.shape[2],
    ] = images / 255  # fmt: skip
    for y, x in _path(side):
        down, across = int(np.floor(y)), int(np.floor(x))
        shares = ((1 - y + down, y - down), (1 - x + across, x - across))
        view = np.zeros((len(images), height, width))
        for dy, dx in itertools.product((0, 1), (0, 1)):
            top, start = reach + down + dy, reach + across + dx
            part = canvas[:, top : top + height, start : start + width]
            view += shares[0][dy] * shares[1][dx] * part
        yield view


def _path(side: int) -> Iterable[tuple[float, float]]:
    """Yield the place of the view in pixels, (y, x), around the middle of its path."""
    u = np.arange(SACCADE_MS + 1) / SACCADE_MS
    way = u - np.sin(2 * np.pi * u) / (2 * np.pi)
    for number, (begin, end) in enumerate(itertools.pairwise(CORNERS)):
        for share in way[int(number > 0) :]:
            y, x = (a + (b - a) * share - 1 for a, b in zip(begin, end, strict=True))
            yield float(y) * side / 8, float(x) * side / 8
