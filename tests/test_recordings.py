"""A folder of recordings from a sensor that is no square, through search, export and evaluation."""

import json
import re
from pathlib import Path

import numpy as np

from tests import quick

DATASET = 'name = "waves"\nsize = [2, 9, 5]\nclip_ms = 80\n'
STUDY = """
name = "waves"
objectives = ["accuracy", "latency_ms"]
[budget]
trials = 2
[run]
dataset = "waves"
backbone = "vgg5"
partition = "1+2"
width = 4
head_hidden = 0
epochs = 3
batch_size = 8
loss = "each-step"
[space]
timesteps = [4, 5]
leak_ms = { low = 20.0, high = 60.0 }
"""


def wave(seed: int, *, is_down: bool) -> np.ndarray:
    """A row of events that moves down or up the sensor, within 80 ms."""
    draws = np.random.default_rng(seed)
    made = np.empty(90, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    made["t"] = np.sort(draws.integers(0, 80_000, 90))
    place = made["t"] * 9 // 80_000
    made["y"] = np.where(draws.random(90) < 0.9, place if is_down else 8 - place, 4)
    made["x"], made["p"] = draws.integers(0, 5, 90), draws.integers(0, 2, 90)
    return made


def started(folder: Path, *words: str) -> quick.Module:
    environment = {"SPIKEFRONT_EXTENSIONS": "waves", "XDG_CACHE_HOME": str(folder / "cache")}
    return quick.Module("search.commands.cli", *words, folder=folder, environment=environment)


def run(folder: Path, *words: str) -> str:
    return started(folder, *words).output()


def write_waves(folder: Path) -> None:
    for title in ("down", "up"):
        for number in range(40):
            path = folder / "waves" / title / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, wave(100 * number + len(title), is_down=title == "down"))
    (folder / "waves" / "dataset.toml").write_text(DATASET)
    (folder / "waves.toml").write_text(STUDY)


def test_recordings_of_a_long_sensor_are_searched_exported_and_evaluated(tmp_path: Path) -> None:
    write_waves(tmp_path)
    told = json.loads(run(tmp_path, "validate", "waves.toml", "--json"))["recordings"]["waves"]
    assert (told["recordings"], told["fewest"], told["cut_share"]) == ([64, 16], 32, 0)
    run(tmp_path, "run", "waves.toml", "--workers", "0")
    points = json.loads(run(tmp_path, "front", "waves", "--json"))["points"]
    assert max(point["metrics"]["accuracy"] for point in points) > 0.8
    for point in points:
        assert 16 <= point["metrics"]["latency_ms"] <= 80
        assert 0 < point["metrics"]["input_events"] <= 90
    run(tmp_path, "export", "waves", "--pick", "best:accuracy", "--out", "best", "--test")
    measured = json.loads(run(tmp_path, "evaluate", "best", "--json"))
    assert measured["is_equal"]
    card = (tmp_path / "best" / "README.md").read_text()
    assert "of the validation recordings are classified correctly" in card
    assert not re.findall(r"(?:test|training|these) images", card)
    assert "\non 16 test recordings\n" in "\n" + run(tmp_path, "evaluate", "best", "--test")


def test_a_damaged_recording_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    write_waves(tmp_path)
    path = tmp_path / "waves" / "up" / "7.npy"
    path.write_bytes(path.read_bytes()[:-5])
    for words in (["validate"], ["validate", "--json"], ["run", "--workers", "0"]):
        command = started(tmp_path, words[0], "waves.toml", *words[1:])
        out, err = command.communicate(timeout=200)
        assert (command.returncode, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith(f"spikefront: {path}: is damaged or of another format")
    assert not (tmp_path / "runs").exists()
    stores = tmp_path / "cache" / "spikefront" / "recordings"
    assert [found for found in stores.iterdir() if found.suffix != ".lock"] == []
