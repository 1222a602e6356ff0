"""A block and the chain that it hangs on: all that decides its bits, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from snn.network.blocks import Block, build_block
from snn.network.network import Network, input_signal
from snn.settings.config import SETTINGS
from snn.settings.prefix import CUT, ROUTING
from snn.training.block_cache import Entry

CONFUSION = "confusion"  # the tensor beside those of the block, see `routing.route`


def describe(done: Network, classes: Sequence[int], origin: Mapping[str, str]) -> dict[str, Any]:
    """All that the next block behind `done` depends on when it is trained on `classes`.

    Of the settings all but the operating point, `ROUTING` and `CUT`: a setting
    that is new counts. Of the blocks before it their units, their classes, and
    whether they have detectors, which count in the memory that training takes.
    """
    config, index = done.config, len(done.blocks)
    heads = [done.block(before).head for before in range(index)]
    before = [
        {
            "units": units,
            "classes": list(head.classes),
            "detector": head.detector is not None,
        }
        for units, head in zip(config.blocks, heads, strict=False)
    ]
    return {
        "origin": dict(origin),
        "settings": {
            name: value
            for name, value in config.to_mapping().items()
            if not SETTINGS[name].operating and name not in ROUTING | CUT
        },
        "before": before,
        "units": config.blocks[index],
        "classes": list(classes),
    }


def tensors_of(block: Block, confusion: Tensor) -> dict[str, Tensor]:
    """What an entry of the folded block holds: its state without a detector, and the confusion."""
    state = {name: t for name, t in block.state_dict().items() if not _is_routing(name)}
    return {**state, CONFUSION: confusion}


def rebuild(done: Network, classes: Sequence[int], entry: Entry) -> tuple[Block, Tensor]:
    """The folded block of an entry, to follow `done`, and its confusion."""
    index = len(done.blocks)
    source = done.block(index - 1).signal if index else input_signal(done.config, done.task)
    block = build_block(done.config, index, source, classes, is_folded=True)
    tensors = dict(entry.tensors)
    confusion = tensors.pop(CONFUSION)
    block.load_state_dict(tensors)
    block.eval().requires_grad_(False)
    return block, confusion


def _is_routing(name: str) -> bool:
    return name.startswith("head.detector.")
