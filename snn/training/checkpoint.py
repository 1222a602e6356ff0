"""Trained networks on disk: one safetensors file that says what it is.

The same training gives the same file, byte for byte: what depends on the clock
or on where it was made lies in a small JSON file beside it and may be missing.
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

from snn.network.blocks import Block, anatomy_of, build_block
from snn.network.network import Network, Task, input_signal
from snn.network.trained import History, Trained
from snn.settings.config import ConfigError, RunConfig

FORMAT = 1


class CheckpointError(ValueError):
    """A weights file that cannot be read as a network."""


def save(trained: Trained, path: Path) -> None:
    """Write the network to `path` and its training times beside it; all or nothing.

    Raises OSError where the disk does not let it.
    """
    network = trained.network
    header = {
        "format": FORMAT,
        "config": trained.config.to_mapping(),
        "task": {"image_shape": network.task.image_shape, "classes": network.task.classes},
        "blocks": [_describe(network.block(index)) for index in range(len(network.blocks))],
        "memory_bytes": trained.history.memory_bytes,
        "parameters": trained.history.parameters,
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        draft = Path(folder) / "weights"
        # one key only: safetensors does not keep the order of several
        _write(tensors, draft, metadata={"spikefront": json.dumps(header, sort_keys=True)})
        times = Path(folder) / "times"
        beside = {"training_s": trained.history.training_s, "origin": trained.history.origin}
        times.write_text(json.dumps(beside))
        draft.chmod(times.stat().st_mode)  # as any new file; safetensors writes it private
        os.replace(times, times_path(path))
        os.replace(draft, path)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # which says in words what the system said by number
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
    """Where the training times of a weights file lie."""
    return path.with_name(path.name + ".times.json")


def load(path: Path, *, config: RunConfig | None = None, device: str = "cpu") -> Trained:
    """The network in a weights file; `config` may name another operating point of it.

    Raises CheckpointError when the file is missing, damaged, of a newer format,
    or of another training than `config` describes.
    """
    header, tensors = _read(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: weights of format {header.get('format')!r}, this version reads {FORMAT}"
        )
    try:
        stored = RunConfig.from_mapping(header["config"])
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error.faults[0]}") from None
    if config is not None and config.training_fingerprint != stored.training_fingerprint:
        raise CheckpointError(f"{path}: holds another training than the config describes")
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
            origin=origin_of(path),
        ),
    )


def _read(path: Path) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["spikefront"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not a spikefront weights file ({error})") from None
    return header, tensors


def _network(config: RunConfig, task: Task, described: list[dict[str, Any]]) -> Network:
    network = Network(config, task)
    signal = input_signal(config, task)
    for index, of_block in enumerate(described):
        block = build_block(config, index, signal, of_block["classes"], is_folded=True)
        block.head.hard = tuple(of_block["hard"])
        if of_block["has_detector"]:
            block.head.add_detector(anatomy_of(config, block=index, is_folded=True))
        network.blocks.append(block)
        signal = block.signal
    return network


def _times(path: Path, stages: int) -> tuple[float, ...]:
    try:
        times = tuple(float(s) for s in json.loads(times_path(path).read_text())["training_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return (0.0,) * stages
    return times


def origin_of(path: Path) -> str:
    """The name of the environment that made a weights file; empty where it is not known."""
    try:
        return str(json.loads(times_path(path).read_text())["origin"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def prefix(trained: Trained, blocks: int) -> Trained:
    """The network of the first `blocks` blocks: what training only those would have given.

    Raises ValueError where the blocks were not trained one after another.
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
        ),
    )


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
