"""Planned peak of a training step against what a GPU's allocator says, in every memory mode.

ResNet-9 of width 64 in BlocTrain's three blocks and end to end, random 32x32
colour images, Adam, one epoch of two batches per stage. The plan leaves out what
operations need for themselves while they run, and what the allocator rounds
up; the images are left out of both. Needs a GPU; `--dry-run` walks the same way on a
processor with a small network, whose live tensors are counted instead.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from benchmarks.memory import RESNET9
from benchmarks.report import Figure, Report, arguments
from search.worker.engine import environment
from snn.data.dataset import Split
from snn.network.network import Network, Task
from snn.settings.config import RunConfig
from snn.training.plan import LiveBytes, plan
from snn.training.stage import Stage

TASK = Task(image_shape=(3, 32, 32), classes=10)
MODES = ("full", "packed", "checkpointed")
TOY: dict[str, Any] = {"width": 4, "head_hidden": 8, "timesteps": 2, "batch_size": 8}


def main(argv: Sequence[str] | None = None) -> int:
    """Train a little, and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--dry-run", action="store_true", help="on a processor, at toy size")
    options = parser.parse_args(argv)
    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("needs a GPU, and torch sees none: spikefront doctor", file=sys.stderr)
        return 2
    report = Report("peak", setting={"device": environment(device)["device"]})
    quick = options.quick or options.dry_run
    for name, config in runs(quick=quick, precision=options.precision):
        config = config.replace(**TOY) if options.dry_run else config
        planned, held = plan(config, TASK).peak_bytes, measured(config, device)
        report.line(f"{name}: planned {planned / 1e6:.0f} MB, allocated {held / 1e6:.0f} MB")
        error = abs(planned / held - 1)
        report.add(
            Figure(name=f"peak_error_{name}", value=error, unit="", better="lower", aim=0.05)
        )
    report.show(as_json=options.json)
    return 0


def runs(*, quick: bool, precision: str) -> Iterator[tuple[str, RunConfig]]:
    """What is tried, by name."""
    for mode in MODES[:1] if quick else MODES:
        config = RESNET9.replace(memory_mode=mode, epochs=1, precision=precision)
        yield f"block_local_{mode}", config
        yield f"end_to_end_{mode}", config.replace(space_rule="end-to-end")


def measured(config: RunConfig, device: str) -> int:
    """Bytes allocated at the peak of the hungriest stage's training, the images not counted."""
    split = images(config, device)
    network, largest = Network(config, TASK), 0
    while len(network.blocks) < config.exits:
        before = 0 if device == "cpu" else torch.cuda.memory_allocated() - _bytes_of(network)
        stage = Stage(network, split, range(TASK.classes), device=device)
        largest = max(largest, _peak(stage, device) - before)
        network.blocks.extend(stage.fold_for_inference())
        del stage
    return largest


def _peak(stage: Stage, device: str) -> int:
    """Bytes allocated at the peak of a stage's epochs."""
    if device == "cpu":
        parts = [part for block in stage.live for part in block.parameters()]
        with LiveBytes([*parts, *stage.done.parameters()]) as alive:
            for _ in stage.epochs(0):
                pass
        return int(alive.peak)
    torch.cuda.reset_peak_memory_stats()
    for _ in stage.epochs(0):
        pass
    return torch.cuda.max_memory_allocated()


def images(config: RunConfig, device: str) -> Split:
    """Random images on the device: two batches, and a few to validate."""

    def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (count, *TASK.image_shape)
        return (
            torch.randint(256, shape, dtype=torch.uint8, device=device),
            torch.arange(count, device=device) % TASK.classes,
        )

    train, labels = drawn(2 * config.batch_size)
    validation, validation_labels = drawn(TASK.classes)
    return Split(
        train_images=train,
        train_labels=labels,
        validation_images=validation,
        validation_labels=validation_labels,
        classes=TASK.classes,
        mean=torch.full((3, 1, 1), 0.5, device=device),
        std=torch.full((3, 1, 1), 0.25, device=device),
    )


def _bytes_of(network: Network) -> int:
    return sum(p.numel() * p.element_size() for p in network.parameters())


if __name__ == "__main__":
    raise SystemExit(main())
