"""Many points as one picture in the background of a figure, which a browser draws at once."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dashboard.data.points import Axis

WIDTH, HEIGHT = 560, 360  # pixels
OPACITY = 0.16, 0.62  # of one point, and of MANY at the same place
MANY = 24


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The area of a picture in units of the axes; logarithms on logarithmic axes."""

    left: float
    right: float
    bottom: float
    top: float


def raster_cloud(
    x: Axis, y: Axis, rows: NDArray[np.int64], *, log: tuple[bool, bool], colour: str
) -> tuple[str, Extent] | None:
    """Return the points as a PNG in a data URL with its area; None if the area is empty.

    Pixels with more points are darker.
    """
    across, up = _values(x, rows, is_log=log[0]), _values(y, rows, is_log=log[1])
    known = np.isfinite(across) & np.isfinite(up)
    if not known.any():
        return None
    across, up = across[known], up[known]
    extent = Extent(
        left=float(across.min()),
        right=float(across.max()),
        bottom=float(up.min()),
        top=float(up.max()),
    )
    if extent.right <= extent.left or extent.top <= extent.bottom:
        return None
    columns = _pixels(across, extent.left, extent.right, WIDTH)
    lines = HEIGHT - 1 - _pixels(up, extent.bottom, extent.top, HEIGHT)
    counts = np.bincount(lines * WIDTH + columns, minlength=WIDTH * HEIGHT)
    return _png(_spread(counts.reshape(HEIGHT, WIDTH)), colour), extent


def _values(axis: Axis, rows: NDArray[np.int64], *, is_log: bool) -> NDArray[np.float64]:
    assert axis.values is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        values = axis.values[rows]
        return np.log10(values) if is_log else values


def _pixels(values: NDArray[np.float64], low: float, high: float, count: int) -> NDArray[np.int64]:
    return np.minimum(((values - low) / (high - low) * count).astype(np.int64), count - 1)


def _spread(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest count of 3 x 3 pixels, so that a single point is visible."""
    padded = np.pad(counts, 1)
    height, width = counts.shape
    near: NDArray[np.int64] = np.max(
        [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)], axis=0
    )
    return near


def _png(counts: NDArray[np.int64], colour: str) -> str:
    low, high = OPACITY
    share = np.log1p(np.minimum(counts, MANY)) / np.log1p(MANY)
    opacity = np.where(counts > 0, low + (high - low) * share, 0.0)
    picture = np.empty((*counts.shape, 4), dtype=np.uint8)
    picture[..., :3] = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    picture[..., 3] = (255 * opacity).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture, "RGBA").save(buffer, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
