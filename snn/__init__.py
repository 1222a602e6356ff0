"""The engine: spiking neural networks, their training and their cost.

It needs only torch and numpy, and is independent of studies, trials and databases.
`snn.settings` imports neither, so that a study can be read without loading them.

    import snn
    network = snn.load("runs/best")  # an exported folder, as a torch module in eval mode
    answer = network(images)         # labels, logits, exit and timestep of each image
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn.exported import Answer, ExportedNetwork, FolderError, load

__all__ = ["Answer", "ExportedNetwork", "FolderError", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'snn' has no attribute {name!r}")
    from snn import exported  # loads torch

    return getattr(exported, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
