"""Training memory: block-local against end-to-end, and planned against counted.

ResNet-9 at width 64 with BlocTrain's three blocks 2+1+1 (Srinivasan & Roy 2021,
who report up to 2.95 times less), 32x32 colour images, batch 64, T = 10, Adam.
Counted are weights, gradients, both moments and every tensor kept for the
backward pass, by shapes alone; of the blocks the one that needs most counts.
"""

from collections.abc import Sequence

from benchmarks.report import Figure, Report, arguments, data_dir
from search.configure import TrialRun, plan
from snn.config import RunConfig

RESNET9 = RunConfig(
    dataset="cifar10",
    backbone="resnet9",
    width=64,
    head_hidden=1024,
    partition="2+1+1",
    timesteps=10,
)
DIGITS = RunConfig(partition="1+1+1", epochs=1, dropout=0.1)


def main(argv: Sequence[str] | None = None) -> int:
    """Count, and print."""
    options = arguments(__doc__.splitlines()[0], has_quick=False).parse_args(argv)
    report = Report("memory", setting={"backbone": "resnet9", "partition": RESNET9.partition})
    whole = plan(RESNET9.replace(space_rule="end-to-end")).training_memory_bytes
    blocks = plan(RESNET9).stage_memory_bytes
    report.line(f"end-to-end {whole / 1e6:.0f} MB")
    report.line(f"block-local {', '.join(f'{b / 1e6:.0f}' for b in blocks)} MB")
    report.add(
        Figure(
            name="block_local_saving_resnet9",
            value=whole / max(blocks),
            unit="times",
            better="higher",
            aim=2.95,
        )
    )
    report.add(
        Figure(
            name="block_local_saving_resnet9_mean_block",
            value=whole * len(blocks) / sum(blocks),
            unit="times",
            better="higher",
        )
    )
    counted: dict[int, int] = {}
    for measurement in TrialRun(DIGITS, data_dir=data_dir()):
        counted[measurement.block] = measurement.training_memory_bytes
    planned = plan(DIGITS).stage_memory_bytes
    errors = [abs(p / c - 1) for p, c in zip(planned, counted.values(), strict=True)]
    report.add(Figure(name="planner_error", value=max(errors), unit="", better="lower", aim=0.05))
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
