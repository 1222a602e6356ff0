"""Images that a camera with a moving view would see: simulated recordings. They are not N-MNIST.

The view moves along a triangle of three saccades of 105 ms, as the camera of N-MNIST did
(Orchard et al. 2015): an eighth of the image's side to the right and a quarter down, the same up,
and back. Within a saccade, u from 0 to 1, the path is u - sin(2 pi u) / (2 pi). A pixel has an
event ON (OFF) for each CONTRAST by which ln(0.2 + brightness) has risen (fallen) since its last
event, at the time that linear interpolation between milliseconds gives; contrasts differ by 3 %
from pixel to pixel, and a pixel has 0.1 events a second without a cause. All draws are of fixed
seeds: a recording is always the same. Images are moved in C (`saccades.c`), or without a compiler
in numpy, with the same result.
"""

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Events, Form, Int64, events_of
from snn.data.events.store import Item, Layout
from snn.data.image_files import SOURCES, Bytes, IdxSource
from snn.settings import compiled
from snn.settings.datasets import DATASETS

SACCADE_MS, SACCADES = 105, 3
CORNERS = ((0.0, 0.0), (2.0, 1.0), (0.0, 2.0), (0.0, 0.0))  # y, x, in eighths of the image's side
DARK, CONTRAST, SPREAD = 0.2, 0.38, 0.03
NOISE_HZ = 0.1
TOGETHER = 50  # images that are moved at once

Real = npt.NDArray[np.float64]
Shares = tuple[float, float, float, float]  # of a pixel, its right, its lower, its diagonal one
Moment = tuple[tuple[int, int], Shares]  # corner (row, column) of the view on the canvas


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
) -> list[Item]:
    @functools.lru_cache(maxsize=1)  # recordings are read in their order
    def together(start: int) -> list[Events]:
        return recorded(images[start : start + TOGETHER, 0], shape[1:], (part, start))

    def read(place: int) -> Events:
        return together(place - place % TOGETHER)[place % TOGETHER]

    title = ("training", "test")[part]
    return [
        Item(f"{title} image {place}", int(label), functools.partial(read, place))
        for place, label in enumerate(labels)
    ]


def recorded(images: Bytes, sensor: tuple[int, int], seed: tuple[int, ...]) -> list[Events]:
    """Return the events of images (images, height, width) on a sensor (height, width)."""
    draws = np.random.default_rng(0)
    contrast = CONTRAST * (1 + SPREAD * draws.standard_normal(sensor))
    side = max(images.shape[1:])
    own = _mover()(_canvas(images, sensor, side // 4 + 1), list(_moments(side)), contrast)
    noise = np.random.default_rng(seed)
    made = []
    for place in range(len(images)):
        mean = NOISE_HZ * sensor[0] * sensor[1] * SACCADES * SACCADE_MS / 1000
        count = int(noise.poisson(mean))
        ends = (SACCADES * SACCADE_MS * 1000, sensor[1], sensor[0], 2)
        chance = np.stack([noise.integers(0, end, count) for end in ends])
        first, last = np.searchsorted(own[0], (place, place + 1))
        events = np.concatenate([own[1:, first:last], chance], axis=1)
        made.append(events_of(*events[:, np.argsort(events[0], kind="stable")]))
    return made


def _canvas(images: Bytes, sensor: tuple[int, int], reach: int) -> Real:
    """Return brightness, from 0 to 1: images in the middle of the sensor, and `reach` around it."""
    height, width = sensor
    above = (height - images.shape[1]) // 2 + reach
    left = (width - images.shape[2]) // 2 + reach
    canvas = np.zeros((len(images), height + 2 * reach, width + 2 * reach))
    canvas[:, above : above + images.shape[1], left : left + images.shape[2]] = images / 255
    return canvas


def _moments(side: int) -> Iterable[Moment]:
    """Yield where the view is at each millisecond."""
    reach = side // 4 + 1
    for y, x in _path(side):
        down, across = int(np.floor(y)), int(np.floor(x))
        rows, columns = (1 - y + down, y - down), (1 - x + across, x - across)
        shares = (
            rows[0] * columns[0], rows[0] * columns[1], rows[1] * columns[0], rows[1] * columns[1]
        )  # fmt: skip
        yield (reach + down, reach + across), shares


def _path(side: int) -> Iterable[tuple[float, float]]:
    """Yield the place of the view in pixels, (y, x), around the middle of its path."""
    u = np.arange(SACCADE_MS + 1) / SACCADE_MS
    way = u - np.sin(2 * np.pi * u) / (2 * np.pi)
    for number, (begin, end) in enumerate(itertools.pairwise(CORNERS)):
        for share in way[int(number > 0) :]:
            y, x = (a + (b - a) * share - 1 for a, b in zip(begin, end, strict=True))
            yield float(y) * side / 8, float(x) * side / 8


def _mover() -> Callable[[Real, Sequence[Moment], Real], Int64]:
    """Return `_moved`, or its compiled body."""
    library = _library()
    return _moved if library is None else functools.partial(_moved_in_c, library)


def _moved(canvas: Real, moments: Sequence[Moment], contrast: Real) -> Int64:
    """Return image, time, x, y and ON (5, events) under a moving view, sorted by image.

    Events of an image are in the order of milliseconds, rows and columns.
    """
    # ten digits, so that a library's last bit changes no event
    views = _views(canvas, moments, contrast.shape)
    levels = (np.round(np.log(DARK + view) / contrast, 10) for view in views)
    before = next(levels)
    last = before.copy()
    found = [np.empty((5, 0), np.int64)]
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
    own = np.concatenate(found, axis=1)
    return own[:, np.argsort(own[0], kind="stable")]


def _views(canvas: Real, moments: Sequence[Moment], sensor: tuple[int, ...]) -> Iterable[Real]:
    """Yield the brightness (images, height, width) at each moment."""
    height, width = sensor
    for (top, left), shares in moments:
        view = np.zeros((len(canvas), height, width))
        for (dy, dx), share in zip(itertools.product((0, 1), (0, 1)), shares, strict=True):
            view += share * canvas[:, top + dy :, left + dx :][:, :height, :width]
        yield view


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the compiled body of `_moved`, or None without a compiler."""
    found = compiled.library(Path(__file__).with_name("saccades.c"), "saccades")
    if isinstance(found, str):
        return None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    found.moved.argtypes = [
        *(pointer, count, count, count, pointer, pointer, count),
        *(pointer, count, count, ctypes.c_double, pointer, pointer, count),
    ]
    found.moved.restype = count
    return found


def _moved_in_c(
    library: ctypes.CDLL, canvas: Real, moments: Sequence[Moment], contrast: Real
) -> Int64:
    corners = np.array([corner for corner, _ in moments], np.int64)
    shares = np.array([shares for _, shares in moments])
    memory = np.empty((5, *contrast.shape))
    room = 2 * canvas.size
    while True:
        out = np.empty((5, room), np.int64)
        events = library.moved(
            canvas.ctypes.data, *canvas.shape, corners.ctypes.data, shares.ctypes.data,
            len(moments), contrast.ctypes.data, *contrast.shape, DARK, memory.ctypes.data,
            out.ctypes.data, room,
        )  # fmt: skip
        if events <= room:
            return out[:, :events]
        room = events
