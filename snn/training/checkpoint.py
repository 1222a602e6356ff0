"""Trained networks on disk: one safetensors file with its own description.

The same training gives the same file, byte for byte. Training times and the environment
are in a small JSON file next to it, which may be missing.
"""

import copy
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from snn.network.blocks import Block, build_block, builder_of
from snn.network.network import Network, Task, input_signal
from snn.network.trained import History, Trained
from snn.settings.config import ConfigError, RunConfig

FORMAT = 1


# Raised for values of a damaged header.
DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class CheckpointError(ValueError):
    """A weights file that cannot be read as a network."""


def save(trained: Trained, path: Path) -> None:
    """Write the network to `path`, and its training times to `times_path(path)`.

    A failure leaves no partial file. Raises OSError.
    """
    network = trained.network
    header = {
        "format": FORMAT,
        "config": trained.config.to_mapping(),
        "task": {"image_shape": network.task.image_shape, "classes": network.task.classes},
        "blocks": [_describe(network.block(index)) for index in range(len(network.blocks))],
        "memory_bytes": trained.history.memory_bytes,
        "parameters": trained.history.parameters,
        "training_ops": trained.history.training_ops,
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        draft = Path(folder) / "weights"
        # one key only: safetensors does not preserve the order of several
        _write(tensors, draft, metadata={"spikefront": json.dumps(header, sort_keys=True)})
        times = Path(folder) / "times"
        history = trained.history
        times.write_text(
            json.dumps({"training_s": history.training_s, "origin": history.environment})
        )
        draft.chmod(times.stat().st_mode)  # safetensors makes its file readable by the owner only
        os.replace(times, times_path(path))
        os.replace(draft, path)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # holds the system's error as text
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _describe(block: Block) -> dict[str, Any]:
    head = block.head
    return {
        "classes": head.classes,
        "hard": head.hard,
        "has_detector": head.detector is not None,
    }


def times_path(path: Path) -> Path:
    """Return the path of the training times of a weights file."""
    return path.with_name(path.name + ".times.json")


def load(path: Path, *, config: RunConfig | None = None, device: str = "cpu") -> Trained:
    """Return the network in a weights file; `config` may set another operating point.

    Raises CheckpointError if the file is missing, damaged, of an unknown format, or of a
    different training than `config`.
    """
    header, tensors = _read(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: weights of format {header.get('format')!r}, this version reads {FORMAT}"
        )
    try:
        _check(header)
        return _trained(path, header, tensors, config, device)
    except CheckpointError:
        raise
    except DAMAGE as error:
        raise CheckpointError(
            f"{path}: not a spikefront weights file (damaged header: {type(error).__name__})"
        ) from None


def _check(header: Mapping[str, Any]) -> None:
    """Raise an error of DAMAGE unless the header describes a network of a training."""
    classes = range(int(header["task"]["classes"]))
    for block in header["blocks"]:
        if not all(type(label) is int and label in classes for label in block["classes"]):
            raise ValueError("classes of a block")
        if not all(type(label) is int and label in classes for label in block["hard"]):
            raise ValueError("hard classes of a block")
    for name in ("memory_bytes", "parameters"):
        counts = header[name]
        if not counts or not all(type(count) is int and 0 <= count < 2**63 for count in counts):
            raise ValueError(name)


def _trained(
    path: Path,
    header: dict[str, Any],
    tensors: Mapping[str, Tensor],
    config: RunConfig | None,
    device: str,
) -> Trained:
    try:
        stored = RunConfig.from_mapping(header["config"])
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error.faults[0]}") from None
    if config is not None and config.training_fingerprint != stored.training_fingerprint:
        raise CheckpointError(f"{path}: holds a different training than the config describes")
    task = Task(image_shape=tuple(header["task"]["image_shape"]), classes=header["task"]["classes"])
    network = _network(config or stored, task, header["blocks"])
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {str(error).splitlines()[-1].strip()}") from None
    network.to(device).eval().requires_grad_(False)
    stages = len(header["memory_bytes"])
    return Trained(
        network=network,
        history=History(
            memory_bytes=tuple(header["memory_bytes"]),
            training_s=_times(path, stages),
            parameters=tuple(header["parameters"]),
            training_ops=tuple(map(float, header.get("training_ops", ()))),
            environment=environment_of(path),
        ),
    )


def _read(path: Path) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["spikefront"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a spikefront weights file ({error})") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a spikefront weights file (damaged header)")
    return header, tensors


def _network(config: RunConfig, task: Task, described: list[dict[str, Any]]) -> Network:
    network = Network(config, task)
    signal = input_signal(config, task)
    for index, of_block in enumerate(described):
        block = build_block(config, index, signal, of_block["classes"], is_folded=True)
        block.head.hard = tuple(of_block["hard"])
        if of_block["has_detector"]:
            block.head.add_detector(builder_of(config, block=index, is_folded=True))
        network.blocks.append(block)
        signal = block.signal
    return network


def _times(path: Path, stages: int) -> tuple[float, ...]:
    try:
        times = tuple(float(s) for s in json.loads(times_path(path).read_text())["training_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return (0.0,) * stages
    return times


def environment_of(path: Path) -> str:
    """Return the fingerprint of the environment of a weights file; empty if unknown."""
    try:
        return str(json.loads(times_path(path).read_text())["origin"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def prefix(trained: Trained, blocks: int) -> Trained:
    """Return the network of the first `blocks` blocks, equal to training only those.

    Raises ValueError if the blocks were not trained one after another.
    """
    config, have = trained.config, len(trained.network.blocks)
    if blocks == config.exits:
        return trained
    if config.space_rule != "block-local" or not 1 <= blocks <= have:
        raise ValueError(
            f"blocks must be 1 to {have} of a block-local network, got {blocks} "
            f"of a network trained {config.space_rule}"
        )
    network = Network(config.prefix(blocks), trained.network.task)
    network.blocks.extend(trained.network.block(index) for index in range(blocks - 1))
    network.blocks.append(copy.deepcopy(trained.network.block(blocks - 1)))
    last = network.block(blocks - 1).head
    last.detector, last.hard = None, ()
    history = trained.history
    return replace(
        trained,
        network=network.eval(),
        history=replace(
            history,
            memory_bytes=history.memory_bytes[:blocks],
            training_s=history.training_s[:blocks],
            parameters=history.parameters[:blocks],
            training_ops=history.training_ops[:blocks],
        ),
    )


def sha256(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
