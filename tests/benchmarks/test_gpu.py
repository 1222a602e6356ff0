"""What waits for a GPU can be started on one."""

from pathlib import Path

import pytest
import torch

from benchmarks import peak
from search.export.folder import read_config
from snn.network.network import Network
from snn.training.plan import plan
from snn.training.stage import Stage

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "benchmarks" / "cifar10").glob("*.toml"))
PAGE = (ROOT / "docs" / "how-to" / "gpu.md").read_text(encoding="utf-8")
WEIGHTS = {"resnet9": 13_217_472, "vgg11": 9_222_848, "6conv-2fc": 36_715_264}
"""Connections of the published networks; exits before the last come on top."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_the_published_network_and_the_page_names_it(path: Path) -> None:
    config = read_config(path)
    assert config.dataset == "cifar10"
    assert path.name in PAGE
    assert "Aims at" in path.read_text(encoding="utf-8")
    whole = config.replace(partition="", space_rule="end-to-end", batch_size=2, timesteps=1)
    extra = plan(whole, peak.TASK).parameters - WEIGHTS[config.backbone]
    assert 0 < extra < 0.002 * WEIGHTS[config.backbone]  # biases, gains, learned scales


def test_there_is_a_config_for_every_claim() -> None:
    rules = {(c.backbone, c.time_rule, c.block_classes) for c in map(read_config, CONFIGS)}
    assert rules == {
        ("resnet9", "bptt", "all"),
        ("resnet9", "bptt", "hard"),
        ("6conv-2fc", "bptt", "all"),
        ("vgg11", "ottt-o", "all"),
        ("vgg11", "saf-e", "all"),
    }
    grad_r = {c.target_sparsity for c in map(read_config, CONFIGS) if c.backbone == "6conv-2fc"}
    assert grad_r == {0.95, 0.98, 0.9925}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_peak_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert peak.main([]) == 2
    assert "GPU" in capsys.readouterr().err


def test_its_random_images_are_ones_that_a_stage_learns_from() -> None:
    names = [name for name, _ in peak.runs(quick=False, precision="bfloat16")]
    assert len(set(names)) == 6
    config = next(peak.runs(quick=True, precision="float32"))[1]
    config = config.replace(width=2, head_hidden=4, timesteps=2, batch_size=4)
    stage = Stage(Network(config, peak.TASK), peak.images(config, "cpu"), range(10), device="cpu")
    (epoch,) = stage.epochs(0)
    assert epoch.loss > 0
