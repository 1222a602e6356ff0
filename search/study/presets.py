"""Presets: search spaces of publications, as far as units carry them, for `[space.units]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A search space of a publication."""

    units: Mapping[str, Any]  # as in [space.units]
    source: str
    left_out: str  # what of it units do not carry


PRESETS: Mapping[str, Preset] = {
    "autosnn": Preset(
        units={
            "count": 6,
            "kind": ["c", "r"],
            "kernel": [3, 5],
            "skip": "identity",
            "channels": "4w",
            "1": {"kind": "c", "channels": "1w", "kernel": 3},
            "2": {"channels": "1w", "pool": True},
            "3": {"channels": "2w", "kind": ["c", "r", "none"]},
            "4": {"channels": "2w", "pool": True},
            "5": {"kind": ["c", "r", "none"]},
            "6": {"pool": True},
        },
        source="Na et al. 2022, arXiv 2201.12738",
        left_out="an empty block in front of a pool; neurons with a trained time constant in each "
        "layer (neuron = 'learned' has them); its pools are maxima: pooling = 'max'",
    ),
    "snasnet": Preset(
        units={
            "count": 7,
            "kind": ["c", "r", "none"],
            "kernel": [1, 3],
            "skip": "identity",
            "channels": "2w",
            "1": {"kind": "c", "channels": "1w", "kernel": 3},
            "2": {"channels": "1w"},
            "3": {"channels": "1w"},
            "4": {"channels": "1w", "kind": ["c", "r"], "pool": True},
        },
        source="Kim et al. 2022, arXiv 2201.10355; LightSNN, arXiv 2503.21846",
        left_out="connections of a cell that are no chain, and pools within a cell; backward "
        "connections lead from the end of a block to its first layer only: feedback = "
        "['none', 'last-to-first'] with a block for each cell",
    ),
}
