"""Keys of the block cache: everything that determines the weights of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from snn.network.blocks import Block, build_block
from snn.network.network import Network, input_signal
from snn.settings.config import SETTINGS
from snn.settings.prefix import ARCHITECTURE, CUT, ROUTING, block_units, chunking
from snn.training.block_cache import Entry

CONFUSION = "confusion"  # name of the tensor stored with those of the block, see `routing.route`


def describe(
    done: Network, classes: Sequence[int], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that determines the next block after `done`, trained on `classes`.

    All settings count, new ones included, except the operating point, `ROUTING` and `CUT`; of
    the architecture the units up to this block, and the chunks that its largest layer allows.
    Of the earlier blocks their units, classes, and whether they have detectors, which count
    in the training memory.
    """
    config, index = done.config, len(done.blocks)
    texts = block_units(config)
    heads = [done.block(before).head for before in range(index)]
    before = [
        {
            "units": units,
            "classes": list(head.classes),
            "detector": head.detector is not None,
        }
        for units, head in zip(texts, heads, strict=False)
    ]
    return {
        "origin": dict(environment),
        "settings": {
            name: value
            for name, value in config.prefix(index + 1).to_mapping().items()
            if not SETTINGS[name].operating and name not in ROUTING | CUT | ARCHITECTURE
        },
        "before": before,
        "units": texts[index],
        "chunks": chunking(config, done.task.image_shape),
        "classes": list(classes),
    }


def tensors_of(block: Block, confusion: Tensor) -> dict[str, Tensor]:
    """Return the tensors to store: the state of a folded block without detector, and confusion."""
    state = {name: t for name, t in block.state_dict().items() if not _is_routing(name)}
    return {**state, CONFUSION: confusion}


def rebuild(done: Network, classes: Sequence[int], entry: Entry) -> tuple[Block, Tensor]:
    """Return the folded block of an entry, to follow `done`, and its confusion matrix."""
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
