"""Sensors that are no square, from their events to answers over time, checkpoint and graph."""

from pathlib import Path

import numpy as np
import pytest
import torch

from snn.data import dataset
from snn.data.events import own
from snn.data.events.clips import Clips
from snn.data.events.own import OwnSequence
from snn.evaluation.evaluate import evaluate
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting
from snn.evaluation.recording import record
from snn.evaluation.replay import Replay
from snn.interchange.bundle import write_all
from snn.interchange.measure import description_of, measure
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.settings.datasets import DATASETS, RECORDINGS, RecordingSet
from snn.training.checkpoint import load, save
from snn.training.train import Training
from tests.snn.evaluation.test_evaluate import assert_counted_is_run

Shape = tuple[int, int, int]
Pairs = list[tuple[np.ndarray, int]]


def wave(shape: Shape, seed: int, *, is_down: bool) -> np.ndarray:
    """Events that move down or up the sensor, within 80 ms."""
    channels, height, width = shape
    draws = np.random.default_rng(seed)
    made = np.empty(300, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    made["t"] = np.sort(draws.integers(0, 80_000, 300))
    row = made["t"] * height // 80_000
    made["y"] = row if is_down else height - 1 - row
    made["x"], made["p"] = draws.integers(0, width, 300), draws.integers(0, channels, 300)
    return made


@pytest.mark.parametrize(("name", "shape"), [("n-mnist", (2, 42, 78)), ("shd", (1, 700, 1))])
def test_a_sensor_of_any_shape_goes_all_the_way(
    name: str, shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nir = pytest.importorskip("nir", reason="nir is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "source").write_text("x")

    def pairs(first: int, count: int) -> Pairs:
        return [(wave(shape, first + n, is_down=n % 2 == 0), n % 2) for n in range(count)]

    reader = OwnSequence(
        name=name, reader=lambda root: ([root / "source"], pairs(0, 24), pairs(100, 4))
    )
    monkeypatch.setitem(DATASETS, name, (shape, 2))
    monkeypatch.setitem(RECORDINGS, name, RecordingSet(clip_ms=80))
    monkeypatch.setitem(own.SOURCES, name, reader)
    config = RunConfig(
        dataset=name, architecture="c4p c8p c8 d16", partition="1+3", width=4, timesteps=4,
        epochs=2, batch_size=6, loss="each-step", validation_fraction=0.25, learning_rate=0.01,
    )  # fmt: skip
    found = dataset.split_for(config, tmp_path, "cpu")
    training = Training(config, found)
    list(training)
    assert isinstance(found.train_images, Clips)
    frames = found.train_images[torch.arange(len(found.train_images))]
    assert frames.shape[1:] == (4, *shape)
    assert found.deviation == pytest.approx(float(frames.double().square().mean().sqrt()))
    images = Images(
        images=found.validation_images, labels=found.validation_labels,
        mean=found.mean, std=found.std,
    )  # fmt: skip
    assert_counted_is_run(training.trained, images)
    save(training.trained, tmp_path / "weights")
    ours, again = (
        evaluate(each, images).sampled.metrics
        for each in (training.trained, load(tmp_path / "weights"))
    )
    assert ours == again
    raster = Replay(training.trained, images).raster(0)
    assert raster.frames is not None
    assert raster.frames.shape == (4, *shape)
    write_all(training.trained.network, tmp_path, mean=None, std=None)
    graph = nir.read(tmp_path / "network.nir")
    measured = measure(graph, images, description_of(graph)).metrics
    through_all = OperatingSetting(timesteps=4, exit_thresholds=(1.0,), detector_threshold=0.5)
    counted = OperatingPointEvaluator(training.trained, record(training.trained.network, images))
    told = counted.point(through_all).metrics
    # a graph of the last exit has no other exits, whose operations the network counts
    for metric in ("accuracy", "spikes_per_inference", "latency_ms", "input_events"):
        assert measured[metric] == pytest.approx(told[metric], rel=1e-6), metric
