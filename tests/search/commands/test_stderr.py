"""Commands that succeed print no warnings, logs or output of dependencies."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tools.ports import free_port

pytest.importorskip("nir")
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
# Commands in their order, and what each says on stderr beside its result: lines of ours.
TRIAL = r"trial \d  (?:complete|pruned)  .*\[\d/\d trials, .*\]"
SAID = {
    "run quiet.toml": rf"Ray started after [\d.]+ s\n(?:{TRIAL}\n){{3}}",
    "status quiet": "",
    "front quiet": "",
    "show quiet 0": "",
    "export quiet --out best --nir --test": "",
    "evaluate best/network.nir": "",
    "train best": "",
    "export quiet --optuna sqlite:///optuna.db": (
        "spikefront: Optuna takes no intermediate values of several objectives: the curves are "
        "the user attribute 'curve'\n"
    ),
    "import other.toml sqlite:///optuna.db#quiet": r"(?:spikefront: .*\n)*",
    "run other.toml --workers 0 --trials 2": rf"(?:continuing other.*\n)?(?:{TRIAL}\n){{2}}",
    "confirm quiet --pick knee --seeds 1 --workers 0": (
        r"1 point, 1 seed: 1 training to do\ntrial \d with seed 1000  test accuracy .*\n"
    ),
}
# Python shows a warning once in a process, so that one process serves all commands.
PROGRAM = """
import json, os, sys
for number, command in enumerate(json.loads(sys.argv[1])):
    with open(f"{number}.stderr", "wb") as file:
        os.dup2(file.fileno(), 2)
    from search.commands.cli import main
    assert main(command.split()) == 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands were run, with what each said; nothing was said between them."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "quiet.toml").write_text(STUDY)
    (folder / "other.toml").write_text(STUDY.replace('"quiet"', '"other"'))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(list(SAID))],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    said = [path.read_text() for path in sorted(folder.glob("*.stderr"), key=lambda p: int(p.stem))]
    assert (done.returncode, done.stderr) == (0, ""), said[-1]
    assert "Warning" not in done.stdout
    return folder


@pytest.mark.parametrize("command", SAID)
def test_a_command_says_on_stderr_only_what_is_ours(command: str, folder: Path) -> None:
    said = (folder / f"{list(SAID).index(command)}.stderr").read_text()
    assert re.fullmatch(SAID[command], said), said


def test_the_dashboard_prints_its_address_alone_and_stops_at_ctrl_c(folder: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "search.commands.cli", "dashboard", "--port", str(port)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 200
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
            break
        except OSError:
            time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (out, err) == (f"dashboard at http://127.0.0.1:{port} (Ctrl-C stops it)\n", "")
    assert process.returncode == 0
