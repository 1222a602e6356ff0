"""What a run will cost, known before any of it is trained; torch is loaded when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn.settings.config import DATASETS, RunConfig

if TYPE_CHECKING:
    from snn.network.network import Task
    from snn.training.plan import CostEstimate, LowerBound


def _task(config: RunConfig) -> Task:
    from snn.network.network import Task

    shape, classes = DATASETS[config.dataset]
    return Task(image_shape=shape, classes=classes)


def plan(config: RunConfig) -> CostEstimate:
    """What a run will need; builds the network and trains nothing."""
    from snn.training.plan import plan as plan_task

    return plan_task(config, _task(config))


def lower_bound(config: RunConfig, *, images: int, memory: bool = True) -> LowerBound:
    """What the smallest network of a run is known to need, with at least that many images."""
    from snn.training.plan import lower_bound as least_need

    return least_need(config, _task(config), images=images, memory=memory)
