"""The state of a stage in the middle of its training: all that must be as it was to continue it.

What follows from the config and the finished blocks is not in it: the schedule of learning
rates, the order of connections, the spikes that enter the stage.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn.training.stage import Stage

COUNTS = ("epoch", "step", "memory_bytes", "training_s", "training_ops")  # attributes of the stage
OPTIMIZER = "optimizer."


def can_continue(stage: Stage) -> bool:
    """Return whether all state of the stage is known: False for a rewiring without `state`."""
    return stage.rewirer is None or hasattr(stage.rewirer, "state")


def capture(stage: Stage) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state after an epoch: the tensors themselves, no copies, and JSON values."""
    tensors = {name: _bytes_of(held) for name, held in _held(stage)}
    for index, state in stage.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in state.items()}
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state()  # a tuple
    kind, keys, *rest = numpy_state
    values = {name: getattr(stage, name) for name in COUNTS}
    values["heights"] = [layer.lif.height for layer in stage.layers]
    values |= {"python": [version, list(words), gauss], "numpy": [kind, keys.tolist(), *rest]}
    return tensors, values


@torch.no_grad()
def restore(stage: Stage, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Give a new stage, which `is_continued`, a captured state."""
    for name, held in _held(stage):
        if isinstance(held, Tensor):
            held.copy_(tensors[name])
        else:
            held.set_state(tensors[name])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(OPTIMIZER):
            index, _, key = name.removeprefix(OPTIMIZER).partition(".")
            moments.setdefault(int(index), {})[key] = value.clone()
    groups = stage.optimizer.state_dict()["param_groups"]
    stage.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for name in COUNTS:
        setattr(stage, name, values[name])
    for layer, height in zip(stage.layers, values["heights"], strict=True):
        layer.lif = replace(layer.lif, height=height)
    version, words, gauss = values["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = values["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))


def _held(stage: Stage) -> Iterator[tuple[str, Tensor | torch.Generator]]:
    """Yield what a stage holds, by name, but for the optimizer: it has nothing before a step."""
    for place, block in enumerate(stage.live):
        for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
            yield f"{place}.{name}", tensor
    yield "draws", stage.draws
    for name, held in stage.rewirer.state().items() if stage.rewirer else ():
        yield f"rewiring.{name}", held
    # no draw of ours, but an extension may use them
    yield "torch", torch.default_generator
    if stage.draws.device.type == "cuda":
        yield "cuda", torch.cuda.default_generators[stage.draws.device.index or 0]


def _bytes_of(held: Tensor | torch.Generator) -> Tensor:
    return held if isinstance(held, Tensor) else held.get_state()
