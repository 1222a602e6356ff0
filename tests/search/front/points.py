"""Points with given metrics, and fronts and volumes by their definitions."""

import numpy as np
from numpy.typing import NDArray

from search.front.front import dominates
from search.trial.trial import FrontPoint
from snn.settings.measurement import METRICS, OperatingPoint

OBJECTIVES = ("accuracy", "synaptic_ops")


def a_point(trial: int = 0, *, training: str | None = None, **metrics: float) -> FrontPoint:
    point = OperatingPoint(
        timesteps=4,
        exit_thresholds=(),
        detector_threshold=0.5,
        blocks=1,
        metrics=dict.fromkeys(METRICS, 1.0) | metrics,
    )
    return FrontPoint(trial=trial, params={}, point=point, on_front=False, training=training)


def points_of(*rows: tuple[float, float]) -> list[FrontPoint]:
    return [a_point(k, accuracy=a, synaptic_ops=ops) for k, (a, ops) in enumerate(rows)]


def mask_by_definition(values: NDArray[np.float64]) -> list[bool]:
    finite = [row for row in values if np.isfinite(row).all()]
    return [
        bool(np.isfinite(row).all()) and not any(dominates(other, row) for other in finite)
        for row in values
    ]


def volume_by_slices(values: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Hypervolume, slice by slice along the last objective; for few points."""
    inside = np.isfinite(values).all(axis=1) & (values < reference).all(axis=1)
    rows = values[inside]
    if not len(rows):
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - rows.min())
    rows = rows[np.argsort(rows[:, -1])]
    depths = np.diff(rows[:, -1], append=reference[-1])
    return sum(
        float(depth) * volume_by_slices(rows[: place + 1, :-1], reference[:-1])
        for place, depth in enumerate(depths)
        if depth > 0
    )


def random_values(draw: np.random.Generator, points: int, objectives: int) -> NDArray[np.float64]:
    """Rows of 0 to 1.2, of which many are equal in some objective or in all, some not finite."""
    values = draw.uniform(0, 1.2, size=(points, objectives))
    if draw.random() < 0.5:
        values = values.round(1)
    if draw.random() < 0.3:
        place = draw.integers(points), draw.integers(objectives)
        values[place] = draw.choice([np.nan, np.inf, -np.inf])
    repeated: NDArray[np.float64] = np.concatenate([values, values[: points // 4]])
    return repeated
