"""Graphs of networks for recordings: time in seconds, and input that is cut as in training."""

import json
from pathlib import Path

import pytest

from search.export.model_card import _making
from snn.evaluation.evaluate import evaluate
from snn.interchange.bundle import write_all
from snn.interchange.description import stated_dt
from snn.interchange.measure import description_of, measure, run_settings
from snn.network.trained import Images
from snn.training.train import Training
from tests.snn.data.events.test_clips import CONFIG, root, split

nir = pytest.importorskip("nir", reason="nir is not installed")
__all__ = ["root"]


def test_a_graph_of_recordings_has_their_time_and_cut_and_the_same_answers(
    root: Path, tmp_path: Path
) -> None:
    changes = {"shrink": 2, "polarity": "signed", "leak_ms": 60.0, "timesteps": 4}
    config, found = CONFIG.replace(**changes), split(root, **changes)
    training = Training(config, found)
    list(training)
    images = Images(
        images=found.validation_images, labels=found.validation_labels,
        mean=found.mean, std=found.std,
    )  # fmt: skip
    write_all(training.trained.network, tmp_path, mean=None, std=None)
    graph = nir.read(tmp_path / "network.nir")
    assert stated_dt(graph) == pytest.approx(0.030)  # 120 ms in four bins
    about = description_of(graph)
    assert about is not None
    again = run_settings(about)
    cut = ("dataset", "binning", "clip_ms", "shrink", "polarity", "event_value", "timesteps")
    assert [getattr(again, n) for n in cut] == [getattr(config, n) for n in cut]
    told = evaluate(training.trained, images).sampled.metrics
    measured = measure(graph, images, about).metrics
    for name in ("accuracy", "latency_ms", "input_events", "spikes_per_inference", "synaptic_ops"):
        assert measured[name] == pytest.approx(told[name], rel=1e-6), name
    plan = json.loads((tmp_path / "network.json").read_text())
    assert plan["dt_s"] == pytest.approx(0.030)
    assert plan["input"]["cut"]["polarity"] == "signed"
    assert "pixels" not in plan["input"]
    assert _making(config) == [
        "time, from the recording's start: the first 120 ms in 4 bins of 30 ms; an event at the "
        "very end is in the last",
        "polarity: 1 where there are more ON than OFF events, -1 where there are fewer",
        "2x2 pixels are one input",
    ]
