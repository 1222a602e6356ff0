import base64
import dataclasses
import io
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dashboard
from dashboard.data.point_filter import ViewOptions, visible_points
from dashboard.data.points import PointTable, staircase
from dashboard.data.references import Reference
from dashboard.data.targets import Target
from dashboard.figures import front as front_figure
from dashboard.figures import history as course_figures
from dashboard.figures import style as figures
from dashboard.figures import trial as trial_figures
from dashboard.figures.front_space import front_in_space
from dashboard.figures.raster_cloud import raster_cloud
from dashboard.figures.style import for_export
from dashboard.figures.theme import PALETTES, Mode
from snn.settings.measurement import METRICS, ExitReport, Measurement
from tests.dashboard.example_store import example_trials


def table(
    accuracy: list[float],
    ops: list[float],
    *,
    front: list[bool] | None = None,
    partition: str = "2+1+1",
    bounds: dict[str, tuple[float | None, float | None]] | None = None,
) -> PointTable:
    """Points with these two figures, each of a trial of its own, everything else 1."""
    count = len(accuracy)
    figures = {name: np.ones(count) for name in (*METRICS, "detector_threshold")}
    figures |= {"accuracy": np.asarray(accuracy), "synaptic_ops": np.asarray(ops)}
    return PointTable(
        ids=np.arange(100, 100 + count),
        places=np.arange(count),
        on_front=np.asarray(front if front is not None else [True] * count),
        is_sampled=np.ones(count, dtype=bool),
        is_feasible=np.ones(count, dtype=bool),
        figures=figures,
        timesteps=np.full(count, 4),
        blocks=np.full(count, 3),
        thresholds_of=lambda ids: [(0.9, 0.8)] * len(ids),
        trial_numbers=np.arange(count),
        trial_partitions=(partition,) * count,
        trial_params={"width": tuple(range(count)), "surrogate": ("atan",) * count},
        objectives=("accuracy", "synaptic_ops"),
        bounds=bounds or {},
    )


OPTIONS = ViewOptions(x="synaptic_ops", y="accuracy", colour="training_memory_bytes")


def drawn(
    points: PointTable,
    *,
    options: ViewOptions = OPTIONS,
    targets: tuple[Target, ...] = (),
    selected: Sequence[int] = (),
    references: Sequence[Reference] = (),
    mode: Mode = "light",
    **changes: object,
) -> "figures.go.Figure":
    return front_figure.front(
        points,
        visible_points(points, targets),
        dataclasses.replace(options, **changes),  # type: ignore[arg-type]
        selected=selected,
        targets=targets,
        references=references,
        mode=mode,
    )


def trace(figure: "figures.go.Figure", name: str) -> "figures.go.Scatter":
    return next(trace for trace in figure.data if str(trace.name).startswith(name))


def test_the_step_line_holds_an_accuracy_until_more_operations_buy_a_better_one() -> None:
    points = table([0.5, 0.9, 0.7, 0.6], [10, 40, 20, 30])
    line = trace(drawn(points), "best accuracy")
    assert list(line.x) == [10, 20, 40]
    assert [round(float(y), 3) for y in line.y] == [0.5, 0.7, 0.9]
    assert line.line.shape == "hv"


def test_across_a_metric_that_should_be_high_the_step_comes_first() -> None:
    """At accuracy 0.6 one needs the point of 0.7: the line belongs to the next point."""
    points = table([0.5, 0.9, 0.7], [10, 40, 20])
    line = trace(drawn(points, x="accuracy", y="synaptic_ops"), "best synaptic")
    assert [round(float(x), 3) for x in line.x] == [0.5, 0.7, 0.9]
    assert list(line.y) == [10, 20, 40]
    assert line.line.shape == "vh"


@pytest.mark.parametrize("seed", range(20))
def test_no_point_lies_beyond_the_step_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = table(list(rng.random(40).round(2)), list(rng.integers(1, 30, 40).astype(float)))
    x, y = points.axis("synaptic_ops"), points.axis("accuracy")
    rows = staircase(x, y, np.arange(40))
    assert x.values is not None
    assert y.values is not None
    steps_x, steps_y = x.values[rows], y.values[rows]
    assert (np.diff(steps_x) > 0).all()
    assert (np.diff(steps_y) > 0).all()
    for ops, accuracy in zip(x.values, y.values, strict=True):
        assert accuracy <= steps_y[steps_x <= ops].max()


def test_there_is_no_step_line_over_a_parameter_which_has_no_better_direction() -> None:
    names = [str(each.name) for each in drawn(table([0.5, 0.9], [10, 40]), x="width").data]
    assert not [name for name in names if name.startswith("best accuracy")]


def test_figures_that_are_not_numbers_are_not_on_the_step_line() -> None:
    line = trace(drawn(table([0.5, float("nan"), 0.9], [10, 20, 40])), "best accuracy")
    assert list(line.x) == [10, 40]


def test_of_many_dominated_points_some_can_be_chosen_and_all_are_seen() -> None:
    count = 50_000
    rng = np.random.default_rng(0)
    points = table(
        [0.99, *rng.uniform(0.1, 0.9, count - 1)],
        [1.0, *rng.uniform(9, 99, count - 1)],
        front=[True] + [False] * (count - 1),
    )
    figure = drawn(points)
    faded = trace(figure, "dominated")
    assert 100 < len(faded.x) <= figures.MOST_FADED
    (picture,) = figure.layout.images
    assert picture.source.startswith("data:image/png;base64,")
    assert picture.x == points.figures["synaptic_ops"][1:].min()
    (picture,) = drawn(points, log_x=True).layout.images
    assert picture.x == pytest.approx(np.log10(points.figures["synaptic_ops"][1:].min()))


def test_a_picture_of_points_has_each_of_them_where_it_is() -> None:
    points = table([0.0, 1.0, 0.5], [0.0, 10.0, 5.0])
    found = raster_cloud(
        points.axis("synaptic_ops"),
        points.axis("accuracy"),
        np.arange(3),
        log=(False, False),
        colour="#102030",
    )
    assert found is not None
    source, extent = found
    assert (extent.left, extent.right, extent.bottom, extent.top) == (0, 10, 0, 1)
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    seen = np.asarray(picture)[..., 3] > 0
    height, width = seen.shape
    assert seen[height - 1, 0]
    assert seen[0, width - 1]
    assert seen[height // 2 - 1, width // 2]
    assert seen.sum() == 4 + 4 + 9
    assert picture.getpixel((0, height - 1))[:3] == (16, 32, 48)  # type: ignore[index]


def test_a_dominated_point_that_stands_alone_is_never_thinned_away() -> None:
    rng = np.random.default_rng(0)
    accuracy, ops = [0.99, *rng.uniform(0.8, 0.9, 3_000)], [1.0, *rng.uniform(90, 99, 3_000)]
    accuracy[1_500], ops[1_500] = 0.01, 500.0
    points = table(accuracy, ops, front=[True] + [False] * 3_000)
    faded = trace(drawn(points), "dominated")
    assert len(faded.x) < 3_000
    assert 100 + 1_500 in faded.customdata


def test_points_carry_the_ids_that_a_selection_gives_back() -> None:
    figure = drawn(table([0.5, 0.4, 0.9, 0.3], [1, 2, 3, 4], front=[True, False, True, False]))
    assert list(trace(figure, "front").customdata) == [100, 102]
    assert list(trace(figure, "dominated").customdata) == [101, 103]
    assert not figure.layout.images  # every point is a mark


def test_selected_points_stand_out_in_whichever_layer_they_are() -> None:
    points = table([0.5, 0.4, 0.9], [1, 2, 3], front=[True, False, True])
    figure = drawn(points, selected=[102, 101, 999])
    assert list(trace(figure, "front").selectedpoints) == [1]
    assert list(trace(figure, "dominated").selectedpoints) == [0]


def test_the_hover_says_who_a_point_is_and_every_objective_with_its_unit() -> None:
    text = figures.hover_texts(table([0.972], [12_400]), [0])[0].replace("\u202f", " ")
    assert "<b>Trial 0</b>  ·  2+1+1  ·  T 4" in text
    assert "exit thresholds 0.9 · 0.8" in text
    assert "Accuracy  <b>97.2 %</b>" in text
    assert "Synaptic operations  <b>12.4 k ops</b>" in text


def test_what_a_study_says_is_never_a_tag_in_a_hover_or_a_legend() -> None:
    points = table([0.5], [10], partition="<img src=x onerror=alert(1)>")
    assert "<img" not in figures.hover_texts(points, [0])[0]
    for figure in (drawn(points, colour="partition"), in_space(points, colour="partition")):
        assert not [each.name for each in figure.data if "<img" in str(each.name)]


def in_space(points: PointTable, **changes: object) -> "figures.go.Figure":
    options = dataclasses.replace(OPTIONS, z="model_bytes", **changes)  # type: ignore[arg-type]
    return front_in_space(points, visible_points(points), options, mode="light")


def test_points_of_the_front_in_space_say_who_they_are_and_the_others_nothing() -> None:
    figure = in_space(table([0.5, 0.4, 0.9], [1, 2, 3], front=[True, False, True]))
    assert ["Trial" in text for text in trace(figure, "front").hovertext] == [True, True]
    assert trace(figure, "dominated").hoverinfo == "skip"


def test_a_constraint_is_a_line_at_its_limit() -> None:
    points = table([0.5, 0.9], [10, 40], bounds={"synaptic_ops": (None, 30)})
    figure = drawn(points)
    assert [shape.x0 for shape in figure.layout.shapes] == [30]
    (note,) = notes(figure)
    assert note.text.replace("\u202f", " ") == "≤ 30 ops"
    (note,) = notes(drawn(points, log_x=True))
    assert note.x == pytest.approx(np.log10(30))
    assert not drawn(points, x="model_bytes").layout.shapes


def test_the_knee_is_marked_also_on_logarithmic_axes() -> None:
    figure = drawn(table([0.5, 0.9, 0.8], [10, 1000, 100]), log_x=True)
    assert list(trace(figure, "knee").x) == [100]
    assert figure.layout.annotations[0].x == pytest.approx(2)


def notes(figure: "figures.go.Figure") -> list["figures.go.layout.Annotation"]:
    """What is written at limits; the knee has a note of its own."""
    return [note for note in figure.layout.annotations if "knee" not in note.text]


def test_the_best_in_each_objective_is_marked() -> None:
    figure = drawn(table([0.5, 0.9, 0.8], [10, 1000, 100]))
    assert sorted(trace(figure, "best of one objective").x) == [10, 1000]


def test_rare_categories_share_a_colour_when_there_are_more_than_colours() -> None:
    points = table([0.5] * 12, list(range(1, 13)))
    names = tuple(f"p{place}" for place in range(12))
    points = dataclasses.replace(points, trial_partitions=names, trial_params={})
    shown = [str(each.name) for each in drawn(points, colour="partition").data]
    assert "other" in shown
    assert len([name for name in shown if name.startswith("p")]) == figures.MOST_CATEGORIES - 1


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_text_is_legible_on_its_background(mode: Mode) -> None:
    """Contrast of WCAG 2: 4.5 for text; 3 for the accent's line and ring."""
    palette = PALETTES[mode]
    assert contrast(palette.text, palette.background) > 7
    assert contrast(palette.muted, palette.background) > 4.5
    assert contrast(palette.text, palette.surface) > 7
    assert contrast(palette.accent, palette.background) > 4.5


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_page_and_its_figures_have_the_same_colours(mode: Mode) -> None:
    path = Path(dashboard.__file__ or "").parent / ".streamlit" / "config.toml"
    theme = tomllib.loads(path.read_text(encoding="utf-8"))["theme"][mode]
    palette = PALETTES[mode]
    assert theme["primaryColor"] == theme["linkColor"] == palette.accent
    assert theme["backgroundColor"] == palette.background
    assert theme["secondaryBackgroundColor"] == palette.surface
    assert theme["textColor"] == palette.text
    assert theme["borderColor"] == palette.border


def test_bars_of_a_class_add_up_to_all_of_its_images() -> None:
    reports = [
        ExitReport(exit=1, label=7, images=30, correct=29, is_hard=False),
        ExitReport(exit=2, label=7, images=10, correct=8, is_hard=True),
    ]
    data = trial_figures.exits(reports, "light").data
    bars = [bar for bar in data if not bar.showlegend]
    named = [bar for bar in data if bar.showlegend]
    assert [(bar.name, bar.marker.pattern.shape) for bar in named] == [
        ("exit 1", None),
        ("exit 2", None),
    ]
    assert [float(bar.y[0]) for bar in bars] == [0.75, 0.25]
    assert [bar.text[0] for bar in bars] == ["97", "80"]
    assert [bar.marker.pattern.shape[0] for bar in bars] == ["", "/"]


def test_a_class_without_images_is_an_empty_bar() -> None:
    reports = [ExitReport(exit=1, label=3, images=0, correct=0, is_hard=False)]
    assert list(trial_figures.exits(reports, "dark").data[0].y) == [0.0]


@pytest.mark.parametrize("name", ["accuracy", "connectivity"])
def test_an_axis_of_shares_ends_at_all_of_them(name: str) -> None:
    measurements = next(each.measurements for each in example_trials(12) if each.measurements)
    axis = trial_figures.curve(measurements, name, "light").layout.yaxis
    assert 1 < axis.autorangeoptions.clipmax < 1.05


def test_the_curves_of_every_block_stand_one_after_another() -> None:
    measurements = next(
        each.measurements for each in example_trials(12) if len(each.measurements) == 24
    )
    lines = trial_figures.curve(measurements, "loss", "light").data
    assert [line.name for line in lines] == ["block 1", "block 2", "block 3"]
    assert [next(iter(line.x)) for line in lines] == [1, 9, 17]


def test_a_loss_that_is_not_a_number_is_a_gap_in_its_curve() -> None:
    first = next(example_trials(1)).measurements[0]
    lost = Measurement(**{**vars(first), "epoch": 2, "epochs_done": 2, "loss": float("nan")})
    figure = trial_figures.curve([first, lost], "loss", "dark")
    assert "NaN" not in figure.to_json()
    assert len(figure.data[0].x) == 2


def test_the_family_marks_the_point_that_is_shown() -> None:
    evaluation = next(e.outcome.evaluation for e in example_trials(2) if e.outcome)
    assert evaluation is not None
    figure = trial_figures.family(evaluation.points, selected=evaluation.points[3], mode="light")
    ring = trace(figure, "shown here")
    assert list(ring.x) == [evaluation.points[3].metrics["synaptic_ops"]]
    places = sorted(
        place for each in figure.data if each.customdata is not None for place in each.customdata
    )
    assert places == list(range(len(evaluation.points)))


def test_a_long_course_is_drawn_by_its_corners() -> None:
    values = np.repeat([0.1, 0.5, 0.7], 4_000)
    line = course_figures.hypervolume(range(12_000), values, "light").data[0]
    assert list(line.x) == [1, 4_001, 8_001, 12_000]
    assert list(line.customdata) == [0, 4_000, 8_000, 11_999]
    assert len(course_figures.sparkline(list(values), "light")) < 20_000


def test_the_picture_of_a_course_holds_each_value_until_the_next_and_the_last_to_its_end() -> None:
    picture = course_figures.strip([0.1, 0.5, 0.5, 0.7], "light")
    svg = base64.b64decode(picture.partition("base64,")[2].partition('"')[0]).decode()
    line = svg.rpartition('<path d="')[2].partition('"')[0]
    assert re.findall(r"H([\d.]+)", line) == ["250.0", "750.0", "1000.0"]


def test_ticks_of_a_narrow_range_lie_closer() -> None:
    assert figures.log_ticks(1e3, 1e4) == [1e3, 2e3, 5e3, 1e4]
    assert figures.log_ticks(1.2e6, 4.2e6) == [1.5e6, 2e6, 3e6, 4e6]
    assert figures.log_ticks(1.01e6, 1.02e6) == []


@pytest.mark.parametrize("size", [(1200, 720), (320, 240)])
def test_an_exported_figure_has_room_for_ticks_and_titles(size: tuple[int, int]) -> None:
    """The page fixes the margins of the front; a file of another size would cut its labels."""
    figure = for_export(drawn(table([0.9, 0.8], [10, 5])), *size, "light")
    axes = (figure.layout.xaxis, figure.layout.yaxis)
    assert [axis.automargin for axis in axes] == [True, True]
    assert (figure.layout.width, figure.layout.height) == size
    assert figure.layout.paper_bgcolor == PALETTES["light"].background
