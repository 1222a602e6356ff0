"""The cost of checkpoints: which share of a training is spent on writing them.

One network is trained on the digits, block by block, with a checkpoint in a folder whenever one is
due. Its epochs are short: longer ones cost a smaller share, because a checkpoint comes at most
once an epoch.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.report import Figure, Report, arguments
from search.text.artifacts import ArtifactFile
from search.worker.engine import load_split
from snn.settings.config import RunConfig
from snn.training.stage_checkpoint import SHARE, Checkpoints
from snn.training.train import Training

CONFIG = RunConfig(dataset="digits", backbone="resnet9", width=16, partition="2+2", epochs=60)
QUICK_EPOCHS = 8


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    options = parser.parse_args()
    config = CONFIG.replace(epochs=QUICK_EPOCHS) if options.quick else CONFIG
    report = Report("checkpoints", setting={"epochs": config.total_epochs})
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(report, config, Path(folder) / "checkpoint", options)
    report.show(as_json=options.json)


def measure(report: Report, config: RunConfig, path: Path, options: argparse.Namespace) -> None:
    """Train, and add the figures."""
    split = load_split(config, Path(), "cpu", torch.get_num_threads())
    checkpoints = Checkpoints(ArtifactFile(uri=str(path)), first_s=0.0 if options.quick else None)
    training = Training(config, split, checkpoints=checkpoints)
    begun = time.perf_counter()
    written, since, at_risk = 0, 0, 0
    for _ in training:
        since = 0 if checkpoints.written > written else since + 1
        written, at_risk = checkpoints.written, max(at_risk, since)
    trained_s = time.perf_counter() - begun - checkpoints.seconds
    report.line(
        f"{written} checkpoints of {path.stat().st_size:,} bytes in {config.total_epochs} epochs"
        if written
        else "no checkpoint was due"
    )
    share = checkpoints.seconds / trained_s
    report.add(
        Figure(name="checkpoint_share", value=share, unit="fraction", better="lower", aim=SHARE)
    )
    report.add(
        Figure(name="checkpoint_epochs_at_risk", value=at_risk, unit="epochs", better="lower")
    )


if __name__ == "__main__":
    main()
