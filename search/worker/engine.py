"""The engine as `search` uses it: data sets, stored networks and the environment of results.

torch is loaded when a function is called.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from search.text.provenance import project_version
from snn.settings.config import DATASETS, ConfigError, Fault, RunConfig
from snn.settings.measurement import Evaluation

if TYPE_CHECKING:
    from snn.data.dataset import Split
    from snn.evaluation.replay import Replay
    from snn.network.network import Task
    from snn.network.trained import Images, Trained
    from snn.training.plan import CostEstimate, LowerBound

VALIDATION, TEST = "validation", "test"


def pick_device(device: str) -> str:
    """Return the torch device of a device option: `auto` is the GPU if there is one, else `cpu`."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def settled(config: RunConfig, device: str = "cpu") -> tuple[RunConfig, str]:
    """Return the config with a number type in place of precision `auto`, and why; "": no auto."""
    if config.precision != "auto":
        return config, ""
    from snn.training import precision

    config, choice = precision.settled(config, pick_device(device))
    return config, choice.reason if choice else ""


def fastest_precision(device: str = "cpu") -> tuple[str, str]:
    """Return the number type that precision `auto` stands for on a device of this machine, why."""
    from snn.training import precision

    choice = precision.fastest(pick_device(device))
    return choice.precision, choice.reason


def load_split(config: RunConfig, data_dir: Path, device: str, threads: int) -> Split:
    """Return the training and validation images of a config. Raises DataError."""
    import torch

    from snn.data import dataset
    from snn.training.allocator import keep_memory

    keep_memory()
    # Results may differ in the last bit between numbers of threads.
    torch.set_num_threads(threads)
    return dataset.split_for(config, data_dir, device)


def part_of(split: Split, part: str, data_dir: Path | None = None, name: str = "") -> Images:
    """Return the validation images of a split, or the test images of its data set."""
    from snn.data import dataset
    from snn.data.events.clips import Clips
    from snn.network.trained import Images

    if part == VALIDATION:
        return Images(
            images=split.validation_images,
            labels=split.validation_labels,
            mean=split.mean,
            std=split.std,
        )
    assert data_dir is not None
    if isinstance(split.validation_images, Clips):
        images: dataset.Samples = split.validation_images.whole_test()
        labels = dataset.recorded(name, data_dir).test_labels.to(split.validation_labels.device)
    else:
        whole = dataset.load(name, data_dir)
        device = split.validation_images.device
        images, labels = whole.test_images.to(device), whole.test_labels.to(device)
    return Images(images=images, labels=labels, mean=split.mean, std=split.std)


def evaluated(trained: Trained, images: Images) -> Evaluation:
    """Return the evaluation of a network at its operating points."""
    from snn.evaluation.evaluate import evaluate

    return evaluate(trained, images)


def evaluate_weights(
    config: RunConfig,
    weights: Path,
    *,
    data_dir: Path,
    device: str = "cpu",
    threads: int = 1,
    test: bool = False,
) -> Evaluation:
    """Return the evaluation of stored weights on validation or test images.

    Raises DataError and snn.training.checkpoint.CheckpointError.
    """
    from snn.training.checkpoint import load

    images = images_of(config, data_dir=data_dir, device=device, threads=threads, test=test)
    trained = load(weights, config=config, device=pick_device(device))
    return evaluated(trained, images)


def images_of(
    config: RunConfig, *, data_dir: Path, device: str = "cpu", threads: int = 1, test: bool = False
) -> Images:
    """Return the validation or test images of a config. Raises DataError."""
    split = load_split(config, data_dir, pick_device(device), threads)
    return part_of(split, TEST if test else VALIDATION, data_dir, config.dataset)


def replay(
    config: RunConfig, weights: Path, *, data_dir: Path, device: str = "cpu", threads: int = 1
) -> Replay:
    """Return a replay of stored weights on the validation images.

    Raises DataError and snn.training.checkpoint.CheckpointError.
    """
    from snn.evaluation.replay import Replay
    from snn.training.checkpoint import load

    images = images_of(config, data_dir=data_dir, device=device, threads=threads)
    return Replay(load(weights, config=config, device=pick_device(device)), images)


def why_no_native_body() -> str:
    """Return why the C kernel of neurons cannot run here; empty if it can (it is then compiled)."""
    from snn.lif import native

    return native.why_not()


def unreadable() -> type[ValueError]:
    """Return the exception class for weights that do not fit the config."""
    from snn.training.checkpoint import CheckpointError

    return CheckpointError


def cut_weights(config: RunConfig, weights: Path, blocks: int, target: Path) -> RunConfig:
    """Write the weights of the first `blocks` blocks to `target`; returns their config.

    Training that config gives the same weights.
    """
    from snn.training import checkpoint

    trained = checkpoint.load(weights, config=config)
    part = checkpoint.prefix(trained, blocks)
    checkpoint.save(part, target)
    return part.config


def dataset_fingerprint(config: RunConfig, data_dir: Path) -> str:
    """Return the fingerprint of the images and labels of the data set of a config."""
    from snn.data import dataset

    return dataset.named(config.dataset, data_dir).fingerprint


def input_moments(config: RunConfig, data_dir: Path) -> dict[str, tuple[float, ...]]:
    """Return mean and standard deviation of each channel, with which images become input."""
    from snn.data import dataset

    found = dataset.named(config.dataset, data_dir)
    return {"mean": found.mean, "std": found.std}


def environment(device: str = "cpu", threads: int = 1) -> dict[str, str | int]:
    """Return the versions, device and processor that results are computed with."""
    import torch

    from snn.training import environment

    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    chosen = pick_device(device)
    return {
        "spikefront": project_version(),
        "python": platform.python_version(),
        **versions,
        "device": torch.cuda.get_device_name() if chosen == "cuda" else "cpu",
        "machine": platform.machine(),
        "processor": f"{environment.processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": threads,
        "engine": environment.engine(),
    }


def _task(config: RunConfig) -> Task:
    from snn.network.network import Task

    return Task(image_shape=config.input_shape, classes=DATASETS[config.dataset][1])


def plan(config: RunConfig) -> CostEstimate:
    """Return the cost estimate of a run; builds the network without training it.

    Raises ConfigError if this machine has too little memory for the network.
    """
    from snn.training.plan import plan as plan_task

    try:
        return plan_task(config, _task(config))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        key, size = "width", f"a width of {config.width}"
        if not any(unit.in_widths for unit in config.units):
            key, size = "architecture", f"{config.architecture!r}"
        message = f"must be lower: this machine has no memory for {size}"
        raise ConfigError([Fault(key=key, message=message)]) from error


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is a failed allocation."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator of torch has no exception class of its own.
    phrases = ("DefaultCPUAllocator", "not enough memory")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)


def lower_bound(config: RunConfig, *, images: int, memory: bool = True) -> LowerBound:
    """Return a lower bound of the cost of a run with at least `images` training images."""
    from snn.training.plan import lower_bound as bound_of_task

    return bound_of_task(config, _task(config), images=images, memory=memory)
