"""The page of one network: positions, explanations, drawings, and the network run once more."""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dashboard.data.position import Position, explained, nearest, of_point, parsed
from dashboard.figures import exits as exit_figures
from dashboard.figures import network_map, recorded
from dashboard.figures import raster as raster_figure
from dashboard.figures import trial as trial_figures
from dashboard.parts import operating_points, replays
from dashboard.parts.store_cache import trial_view
from search.export.replay import Replay, ReplayError, replay
from search.store.store import Store
from search.text.artifacts import local_path
from search.trial.trial import Trial, TrialState
from snn.evaluation.raster import ImageRaster, LayerRaster
from snn.settings.config import RunConfig
from snn.settings.measurement import ExitReport, LayerReport
from tests.dashboard import real_study
from tests.dashboard.views.test_views import metrics, shown, words


@pytest.fixture(scope="module")
def seen(real_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    with Store(real_url, read_only=True) as store:
        yield replay(store, "real", 0, data_dir=tmp_path_factory.mktemp("no data needed"))


CONFIG = RunConfig.from_mapping(
    {"backbone": "resnet7", "partition": "1+1+1", "timesteps": 4, "exit_threshold": [0.9, 0.8]}
)


# --- positions ---------------------------------------------------------------------------


def test_a_position_is_read_as_it_is_written() -> None:
    place = Position(timesteps=3, thresholds=(0.9, 0.125), detector=0.5)
    assert parsed(str(place), CONFIG) == place
    early = Position(timesteps=3, thresholds=(0.9, 0.125), detector=0.5, time=0.75)
    assert str(early) == "3:0.9,0.125:0.5:0.75"
    assert parsed(str(early), CONFIG) == early
    assert parsed("4::0.5", CONFIG) == Position(timesteps=4, thresholds=(), detector=0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5:0.9,0.8:0.5",  # more timesteps than it was trained for
        "0:0.9,0.8:0.5",
        "3:1.5,0.8:0.5",
        "3:0.1,0.2,0.3:0.5",  # more exits than it has
        "3:0.9,0.8:7",
        "3:0.9.1,0.8:0.5",
        "3:0.9,0.8:0.5:2",
        "3:nan,0.8:0.5",
        "٣:0.9,0.8:0.5",
        "<script>",
        "3:0.9,0.8:0.5; drop table trials",
    ],
)
def test_a_position_that_the_network_does_not_have_is_none(text: str) -> None:
    assert parsed(text, CONFIG) is None


def test_without_block_local_training_no_block_can_be_left_away() -> None:
    config = CONFIG.replace(space_rule="end-to-end")
    assert parsed("4::0.5", config) is None
    assert parsed("4:0.9,0.8:0.5", config) is not None


def test_the_nearest_point_keeps_the_blocks_first(example_url: str) -> None:
    points = trial_view(example_url, "digits", 0).points
    for stored in points:
        assert of_point(nearest(points, of_point(stored.point)).point) == of_point(stored.point)


# --- explanations ------------------------------------------------------------------------


def report(exit_: int, label: int, images: int, *, is_hard: bool = False) -> ExitReport:
    return ExitReport(exit=exit_, label=label, images=images, correct=images // 2, is_hard=is_hard)


def test_the_sentences_say_what_leaves_where_and_which_classes_are_hard() -> None:
    reports = [report(1, 0, 90), report(2, 0, 10), report(1, 1, 60), report(2, 1, 40)]
    reports += [
        report(1, 2, 10, is_hard=True),
        report(2, 2, 90),
        report(1, 3, 80),
        report(2, 3, 20),
    ]
    text = " ".join(explained(reports)).replace("\u202f", "")
    assert "Exit 1 takes 60.0% of the images; 50.0% of them are right." in text
    assert (
        "Easiest classes: 0 (1.10 blocks on average) and 3 (1.20). Hardest: 2 (1.90) and 1 (1.40)"
        in text
    )
    assert "Hard classes (validation accuracy below the limit after some block): 2." in text


def test_a_single_exit_and_no_image_need_no_explanation() -> None:
    assert explained([report(1, 0, 5)]) == []
    assert explained([report(1, 0, 0), report(2, 0, 0)]) == []


# --- drawings ----------------------------------------------------------------------------


def test_the_flow_keeps_every_image() -> None:
    reports = [report(1, 0, 9), report(2, 0, 2), report(1, 1, 0), report(2, 1, 7)]
    sankey = exit_figures.flow(reports, "light").data[0]
    into = dict.fromkeys(sankey.node.label, 0)
    for target, value in zip(sankey.link.target, sankey.link.value, strict=True):
        into[sankey.node.label[target]] += value
    assert (into["exit 1"], into["exit 2"]) == (9, 9)
    assert into["right"] + into["wrong"] == 18
    assert all(0 < place < 1 for place in (*sankey.node.x, *sankey.node.y))


def test_the_map_shows_blocks_exits_and_names_as_text() -> None:
    layer = LayerReport(
        block=1,
        name="<script>alert(1)</script>",
        neurons=8,
        weights=0,
        connections=0,
        spikes_per_inference=float("nan"),
        spike_rate=0.0,
        synaptic_ops=0.0,
        macs=0.0,
    )
    text = network_map.network(CONFIG, None, [layer], [report(1, 0, 3), report(2, 0, 1)], "dark")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert [f"Block {n}" in text for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert "75.0" in text


def raster_of(blocks: int, steps: int, neurons: int) -> ImageRaster:
    draw = np.random.default_rng(0)
    return ImageRaster(
        number=3,
        pixels=draw.integers(0, 255, (8, 8)).astype(np.uint8),
        label=7,
        layers=tuple(
            LayerRaster(block=b + 1, name=f"l{b}", spikes=draw.random((steps, neurons)) < 0.3)
            for b in range(blocks)
        ),
        confidence=draw.random((blocks, steps)).astype(np.float32),
        predicted=np.full((blocks, steps), 7),
    )


@pytest.mark.parametrize("blocks", [1, 3])
def test_what_did_not_run_is_drawn_as_not_run(blocks: int) -> None:
    figure = raster_figure.raster(
        raster_of(blocks, 4, 90),
        timesteps=3,
        thresholds=(0.9,) * (blocks - 1),
        exit_=1,
        mode="dark",
    )
    maps = [trace for trace in figure.data if trace.type == "heatmap"]
    assert len(maps) == blocks
    first = np.asarray(maps[0].z)
    assert first.shape == (raster_figure.MOST_NEURONS, 4)
    assert set(np.unique(first[:, :3])) == {0, 1}
    assert set(np.unique(first[:, 3])) == {0, 2}
    for later in maps[1:]:
        assert set(np.unique(later.z)) == {0, 2}


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 12, 1)])
def test_a_recording_is_drawn_bin_by_bin_until_its_answer(shape: tuple[int, int, int]) -> None:
    frames = np.random.default_rng(1).integers(0, 4, (4, *shape))
    image = replace(raster_of(2, 4, 9), frames=frames, step_ms=25.0)
    figure = recorded.timeline(image, answered=3, exit_=1, thresholds=(0.9, 1.0), mode="light")
    (bars,) = (trace for trace in figure.data if trace.type == "bar")
    assert list(bars.y) == frames.sum(axis=(1, 2, 3)).tolist()
    assert len(set(bars.marker.color[:3])) == 1
    assert bars.marker.color[3] != bars.marker.color[0]  # not seen
    assert bars.customdata[3] == "75 to 100 ms"
    ran, skipped = (trace.line.color for trace in figure.data if trace.type == "scatter")
    assert ran == bars.marker.color[0]
    assert skipped.startswith("rgba")
    lines = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert {shape.x0 for shape in lines} == {0, 75.0}  # the threshold, and the answer
    shaded = {shape.x0 for shape in figure.layout.shapes if shape.type == "rect"}
    assert shaded == {75.0}
    assert recorded.is_row(image) == (shape[2] == 1)
    share = frames[:3].sum() / frames.sum()
    said = recorded.answer(image, 3)
    assert said == f"Answered after 75 of 100 ms, {share:.0%} of the events seen."
    late = recorded.answer(replace(image, step_ms=None), 4)
    assert late == "Answered after bin 4 of 4, 100% of the events seen."


def test_the_frames_of_a_camera_are_played_with_both_polarities() -> None:
    frames = np.zeros((3, 2, 4, 5), np.int64)
    frames[1, 1, 2, 3], frames[1, 0, 0, 0] = 9, 1
    image = replace(raster_of(1, 3, 9), frames=frames, step_ms=10.0)
    figure = recorded.clip(image, 2, "dark")
    assert len(figure.frames) == len(figure.layout.sliders[0].steps) == 3
    shown = np.asarray(figure.frames[1].data[0].z)
    assert (shown[2, 3], shown[0, 0]) == (recorded.STRONGEST, -1)
    assert figure.frames[1].layout.title.text == "10 to 20 ms"
    assert figure.frames[2].layout.title.text == "20 to 30 ms · after the answer"


def test_neurons_are_drawn_from_those_that_fired() -> None:
    spikes = np.zeros((4, 100), dtype=np.bool_)
    spikes[2, [5, 50, 99]] = True
    kept = raster_figure.shown_neurons(spikes, 10)
    assert kept.shape == (4, 10)
    assert kept.sum() == 3


def test_energy_by_layer_is_that_of_its_operations() -> None:
    layer = LayerReport(
        block=1,
        name="a",
        neurons=1,
        weights=1,
        connections=1,
        spikes_per_inference=1,
        spike_rate=1,
        synaptic_ops=1000.0,
        macs=100.0,
    )
    assert trial_figures.layer_value(layer, "energy") == pytest.approx(0.9 + 0.46)


# --- the network run once more -----------------------------------------------------------


def test_the_recorded_points_come_out_again_bit_for_bit(seen: Replay, real_url: str) -> None:
    points = trial_view(real_url, "real", 0).points
    assert len(points) > 3
    for stored in points:
        again = seen.point(*of_point(stored.point).setting)
        assert again.metrics == stored.point.metrics


def test_exits_and_decisions_agree_with_the_accuracy(seen: Replay) -> None:
    setting = (2, (0.65,), 0.5)
    reports = seen.exits(*setting)
    decided = seen.decisions(*setting)
    right = sum(r.correct for r in reports)
    assert sum(r.images for r in reports) == len(seen.labels)
    assert right / len(seen.labels) == pytest.approx(seen.point(*setting).metrics["accuracy"])
    assert (decided.labels == seen.labels).sum() == right
    assert (decided.exits == 1).sum() == sum(r.images for r in reports if r.exit == 1)


def test_a_raster_has_the_spikes_that_were_counted(seen: Replay) -> None:
    steps = seen.raster(0).layers[0].spikes.shape[0]
    decided = seen.decisions(steps, (1.0,), 0.5)  # nothing leaves early
    for number in (0, 1, 255, 256, len(seen.labels) - 1):
        total = sum(int(layer.spikes.sum()) for layer in seen.raster(number).layers)
        assert total == decided.spikes[number]


def test_an_image_leaves_where_its_exit_is_sure_enough(seen: Replay) -> None:
    decided = seen.decisions(2, (0.65,), 1.0)
    for number in range(6):
        image = seen.raster(number)
        assert image.pixels.shape == (8, 8)
        assert (decided.exits[number] == 1) == (image.confidence[0, 1] >= np.float32(0.65))


def test_weights_that_are_gone_or_changed_are_said_in_one_line(tmp_path: Path) -> None:
    url = real_study.run(tmp_path, trials=1)
    with Store(url, read_only=True) as store:
        trial = store.trial("real", 0)
        assert trial.artifact is not None
        path = local_path(trial.artifact.uri)
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(ReplayError, match="the file has changed since the trial"):
            replay(store, "real", 0, data_dir=tmp_path)
        path.unlink()
        with pytest.raises(ReplayError, match="are missing"):
            replay(store, "real", 0, data_dir=tmp_path)


def test_a_trial_without_weights_says_so(example_url: str, tmp_path: Path) -> None:
    with (
        Store(example_url, read_only=True) as store,
        pytest.raises(ReplayError, match="kept no weights"),
    ):
        replay(store, "digits", 0, data_dir=tmp_path)


# --- the page ----------------------------------------------------------------------------


def test_the_page_says_why_a_network_cannot_be_run(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch, example_url, "views/network.py", study="digits", trial="0", replay="on"
    )
    assert "cannot be run here" in words(app)
    assert "kept no weights" in words(app)
    assert "of this operating point are unknown" not in words(app)


def test_without_a_run_sliders_go_to_the_nearest_stored_point(
    example_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, example_url, "views/network.py", study="digits", trial="0")
    app.slider(key="at-timesteps").set_value(2).run()
    assert not app.exception
    points = trial_view(example_url, "digits", 0).points
    chosen = next(p for p in points if str(p.id) == app.query_params["point"])
    assert chosen.point.timesteps == 2
    assert app.slider(key="at-timesteps").value == 2


def test_a_network_is_run_when_asked_and_sliders_are_free(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(monkeypatch, real_url, "views/network.py", study="real", trial="0")
    assert "Run it once on its" in words(app)
    app.button(key="replay").click().run()
    assert not app.exception
    assert "One image on its way" in words(app)
    app.slider(key="at-exit-1").set_value(0.615).run()
    assert not app.exception
    assert app.query_params["at"].split(":")[1] == "0.615"
    with Store(real_url, read_only=True) as store:
        seen = replay(store, "real", 0, data_dir=Path("data"))
        place = parsed(app.query_params["at"], store.trial("real", 0).config or CONFIG)
    assert place is not None
    accuracy = 100 * seen.point(*place.setting).metrics["accuracy"]
    assert metrics(app)["Accuracy"] == f"{accuracy:.1f} %"
    assert "Exit 1 takes" in words(app)


def test_each_exit_is_swept_around_its_own_threshold(
    seen: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[tuple[int, float]] = []
    monkeypatch.setattr(replays, "curves", lambda *_: {})
    monkeypatch.setattr(operating_points.frame, "chart", lambda *_: None)
    monkeypatch.setattr(operating_points, "sweep", lambda *_, chosen, **__: swept.append(chosen))
    point = replace(seen.point(3, (0.6,), 0.5), exit_thresholds=(0.6, 0.9), blocks=3)
    selected = operating_points.SelectedPoint(point=point, stored=None, exits=())
    trial = Trial(number=0, params={}, state=TrialState.COMPLETE)
    operating_points._sweeps("", "", trial, selected)
    assert swept == [(3, 0.6)] * 2 + [(3, 0.9)] * 2


def test_an_image_of_the_address_is_followed(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = shown(
        monkeypatch,
        real_url,
        "views/network.py",
        study="real",
        trial="0",
        replay="on",
        image="17",
    )
    assert app.number_input(key="image").value == 17
    assert re.search(
        r"probability at exit \d is \d+\.\d.%.* for class \d: (right|wrong)", words(app)
    )
    app.button(key="next-image").click().run()
    assert app.number_input(key="image").value == 18


def test_a_point_that_the_store_does_not_keep_can_be_taken_away(
    real_url: str, seen: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEFRONT_DATA", str(tmp_path))
    with Store(real_url, read_only=True) as store:
        trial = store.trial("real", 0)
    packed = replays.exported_zip(real_url, "real", trial, seen.point(2, (0.615,), 0.5))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert "0.615" in archive.read("real-0/config.toml").decode()
