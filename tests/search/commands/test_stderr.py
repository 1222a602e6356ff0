"""Commands that succeed print no warnings, logs or output of dependencies."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tools.serving import free_port

ROOT = Path(__file__).parents[3]
STUDY = """
name = "quiet"
objectives = ["accuracy", "synaptic_ops"]
[constraints]
model_bytes = { max = 400_000 }
[budget]
trials = 3
workers = 2
[run]
dataset = "digits"
backbone = "resnet5"
width = 4
epochs = 3
train_images = 200
[space]
partition = { max_blocks = 2 }
exit_threshold = { low = 0.5, high = 0.99 }
timesteps = { low = 2, high = 3 }
[search]
stopping = "moasha"
"""
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHONWARNINGS", "SPIKEFRONT_", "TRITON_"))
} | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a study was run on Ray's workers."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "quiet.toml").write_text(STUDY)
    printed = stderr(folder, "run", "quiet.toml")
    ours = r"Ray started after [\d.]+ s|trial \d  (complete|pruned)  .*\[\d/3 trials, .*\]"
    assert [line for line in printed if not re.fullmatch(ours, line)] == []
    assert len(printed) == 4
    return folder


def stderr(folder: Path, *words: str) -> list[str]:
    """What a command that does what it was asked for says beside its result."""
    done = subprocess.run(
        [sys.executable, "-m", "search.commands.cli", *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stdout
    return done.stderr.splitlines()


def test_results_are_shown_with_an_empty_stderr(folder: Path) -> None:
    for words in (["status", "quiet"], ["front", "quiet"], ["show", "quiet", "0"]):
        assert stderr(folder, *words) == [], words


def test_a_network_is_exported_and_run_with_an_empty_stderr(folder: Path) -> None:
    pytest.importorskip("nir")
    assert stderr(folder, "export", "quiet", "--out", "best", "--nir", "--test") == []
    (graph, *_) = sorted((folder / "best").rglob("*.nir"))
    assert stderr(folder, "evaluate", str(graph)) == []
    assert stderr(folder, "train", "best") == []


def test_a_study_is_exchanged_with_optuna_without_warnings(folder: Path) -> None:
    note = (
        "spikefront: Optuna takes no intermediate values of several objectives: the curves are "
        "the user attribute 'curve'"
    )
    assert stderr(folder, "export", "quiet", "--optuna", "sqlite:///optuna.db") == [note]
    (folder / "other.toml").write_text(STUDY.replace('"quiet"', '"other"'))
    printed = stderr(folder, "import", "other.toml", "sqlite:///optuna.db#quiet")
    assert [line for line in printed if not line.startswith("spikefront: ")] == []
    printed = stderr(folder, "run", "other.toml", "--workers", "0", "--trials", "2")
    assert [line for line in printed if not re.match(r"trial \d  |continuing other", line)] == []


def test_a_front_is_confirmed_without_warnings(folder: Path) -> None:
    printed = stderr(folder, "confirm", "quiet", "--pick", "knee", "--seeds", "1", "--workers", "0")
    ours = r"1 points, 1 seeds: 1 trainings to do|trial \d with seed 1000  test accuracy .*"
    assert [line for line in printed if not re.fullmatch(ours, line)] == []


def test_the_dashboard_prints_its_address_alone(folder: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "search.commands.cli", "dashboard", "--port", str(port)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
            break
        except OSError:
            time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err) == (f"dashboard at http://127.0.0.1:{port} (Ctrl-C stops it)\n", "")
