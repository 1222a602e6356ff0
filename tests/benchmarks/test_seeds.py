"""The published claims: their runs can be run, their tables and their page say what was run."""

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import seeds
from benchmarks.claims import CLAIMS
from benchmarks.claims.claim import LABELS, Claim, Done, Place, Published, Results, Row, Run, Scale
from benchmarks.claims.encoder import gain_at_equal_bits
from benchmarks.claims.spike_bp import lenet
from benchmarks.claims.tested import threshold_at_full_accuracy, train_and_test
from benchmarks.claims.together import chosen
from benchmarks.finished import Finished
from benchmarks.report import Report
from benchmarks.results import page, table
from search.worker.engine import plan
from snn.settings.config import RunConfig
from snn.settings.measurement import OperatingPoint
from snn.training.train import DivergedError

SCALES = [
    Scale(dataset=dataset, seeds=2, quick=quick, published=published)
    for dataset, published in (("mnist", False), ("cifar10", False), ("cifar10", True))
    for quick in (False, True)
]
PLACE = Place(data=Path("nowhere"))
DIGITS = RunConfig(width=4, epochs=1, timesteps=2)


class Everything(dict[str, float]):
    """Values of any name."""

    def __missing__(self, name: str) -> float:
        return 0.25 if name.startswith("accuracy") else 2.0

    def __contains__(self, name: object) -> bool:
        return True


def done(run: Run, values: Any = None) -> Done:
    return Done(
        name=run.name,
        seed=run.config.seed,
        values=Everything() if values is None else values,
        seconds=3.0,
        foreign_load=0.0,
        commit="abc",
    )


def stubbed(claim: Claim) -> tuple[Claim, Results]:
    return claim, Results([done(run) for run in claim.runs])


def claims(scale: Scale) -> list[Claim]:
    return [make(scale) for make in CLAIMS.values()]


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_every_run_of_a_claim_is_of_its_own_and_every_seed_is_run(scale: Scale) -> None:
    for claim in claims(scale):
        prints = [run.fingerprint for run in claim.runs]
        assert len(set(prints)) == len(prints), claim.name
        trained = [run for run in claim.runs if run.config.dataset == scale.dataset]
        assert {run.config.seed for run in trained} == {0, 1}, claim.name


@functools.cache
def parameters(backbone: str, width: int, dataset: str, head_hidden: int, head_grid: int) -> int:
    config = RunConfig(
        backbone=backbone, width=width, dataset=dataset, head_hidden=head_hidden,
        head_grid=head_grid, norm="none", timesteps=1, batch_size=2,
    )  # fmt: skip
    return plan(config).parameters


@pytest.mark.parametrize(("dataset", "claim", "weights"), [
    ("mnist", "spike-bp", 517_500),
    ("mnist", "grad-r", 635_200),
    ("cifar10", "spike-bp", 13_217_472),
    ("cifar10", "saf", 9_222_848),
])  # fmt: skip
def test_networks_have_the_published_size(dataset: Any, claim: str, weights: int) -> None:
    """But for their biases, a thousandth and less of it."""
    config = CLAIMS[claim](Scale(dataset=dataset, published=True)).runs[0].config
    found = parameters(
        config.backbone, config.width, config.dataset, config.head_hidden, config.head_grid
    )
    assert weights < found < 1.002 * weights


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_every_claim_has_rows_with_a_value_per_seed_and_names_its_deviations(scale: Scale) -> None:
    names: list[str] = []
    for claim, results in map(stubbed, claims(scale)):
        rows = claim.rows(results)
        names += [figure.name for row in rows for figure in row.figures()]
        assert all(1 <= len(row.values) <= scale.seeds for row in rows)
        assert len(claim.deviations) >= 3
        says_none = any("no figure of the paper could be read" in d for d in claim.deviations)
        assert any(row.published is not None for row in rows) != says_none
    assert len(set(names)) == len(names)


def row(value: float, *, label: Any, is_aim: bool) -> Row:
    published = Published(value=0.5, label=label, of="another network")
    return Row(
        name="accuracy", what="", kind="fraction", values=(value, value + 0.1),
        published=published, is_aim=is_aim,
    )  # fmt: skip


def test_a_recalled_figure_is_never_an_aim() -> None:
    assert row(0.4, label="paper", is_aim=True).figures()[0].aim == 0.5
    assert row(0.4, label="paper", is_aim=False).figures()[0].aim is None
    assert row(0.4, label="recalled", is_aim=True).figures()[0].aim is None


def test_a_row_gives_its_mean_and_the_distance_over_seeds() -> None:
    mean, spread = row(0.4, label="paper", is_aim=True).figures()
    assert mean.value == pytest.approx(0.45)
    assert (spread.name, spread.value) == ("accuracy_spread", pytest.approx(0.1))


def test_distortions_are_compared_at_equal_bits_and_not_below_the_fewest() -> None:
    """Half way between two prices on the scale of logarithms; flat above, left out below."""
    timed = [(100.0, 1.0), (1.0, 3.0)]
    assert gain_at_equal_bits(timed, [(10.0, 2.5)]) == pytest.approx(0.5)
    assert gain_at_equal_bits(timed, [(10.0, 2.5), (1000.0, 2.5)]) == pytest.approx(1.0)
    assert math.isnan(gain_at_equal_bits(timed, [(0.9, 3.3)]))


def test_points_are_lost_against_the_dense_network_of_the_same_seed() -> None:
    claim = CLAIMS["grad-r"](Scale(seeds=2, quick=True))
    accuracy = {("dense", 0): 0.9, ("dense", 1): 0.8, ("1 % connected", 0): 0.85}
    runs = [
        done(run, Everything(accuracy=accuracy.get((run.name, run.config.seed), 0.78)))
        for run in claim.runs
    ]
    lost = next(row for row in claim.rows(Results(runs)) if row.name == "loss_mnist_at_1")
    assert lost.values == pytest.approx((5.0, 2.0))


class Read:
    """A reading with a made-up curve: accuracy and operations by threshold."""

    def metrics(self, threshold: float) -> dict[str, float]:
        accuracy = {0.5: 0.90, 0.7: 0.93, 0.8: 0.95, 0.9: 0.94}.get(threshold, 0.94)
        return {"accuracy": accuracy, "synaptic_ops": 100 * threshold}


def test_the_exit_threshold_is_the_cheapest_that_loses_nothing() -> None:
    assert threshold_at_full_accuracy(Read()) == 0.8  # type: ignore[arg-type]


def test_a_network_is_judged_on_the_test_images() -> None:
    from snn.data import dataset as data

    values = train_and_test(DIGITS, Place(data=PLACE.data, threads=torch.get_num_threads()))
    correct = values["accuracy"] * len(data.load("digits", PLACE.data).test_labels)
    assert correct == pytest.approx(round(correct), abs=1e-6)
    assert 0 < values["connectivity"] <= 1


class Counted:
    """A measurement that counts its calls, and may fail once."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[int] = []
        self.error = error

    def __call__(self, config: RunConfig, place: Place) -> dict[str, float]:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.calls.append(config.seed)
        return {"accuracy": config.seed / 10}


def claim_of(measure: Counted, seeds: Sequence[int] = (0, 1)) -> Claim:
    def rows(results: Results) -> list[Row]:
        values = results.over_seeds("run", "accuracy")
        return [Row(name="accuracy", what="made up", kind="fraction", values=values)]

    return Claim(
        name="made-up", title="Made up", about="Nothing.", source="nobody",
        runs=tuple(
            Run(name="run", config=DIGITS.replace(seed=s), measure=measure) for s in seeds
        ),
        rows=rows, deviations=("all of it",),
    )  # fmt: skip


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    path, measure = tmp_path / "lines.jsonl", Counted()
    first = seeds.Runner(PLACE, Report("seeds"), path)
    seeds.run_claims([claim_of(measure, (0,))], first, Report("seeds"))
    with path.open("a") as file:
        file.write('{"engine": "cut o')  # as when the machine went off
    report = Report("seeds")
    second = seeds.Runner(PLACE, report, path)
    ((_, results),) = seeds.run_claims([claim_of(measure)], second, report)
    assert measure.calls == [0, 1]
    assert results.over_seeds("run", "accuracy") == (0.0, 0.1)
    assert [figure.value for figure in report.figures] == pytest.approx([0.05, 0.1])
    third = seeds.Runner(PLACE, Report("seeds"), path)
    seeds.run_claims([claim_of(measure)], third, Report("seeds"))
    assert measure.calls == [0, 1]


def test_lines_of_another_engine_or_machine_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    Finished(path, {"engine": "a", "machine": "m"}).put("f", {"value": 1})
    assert Finished(path, {"engine": "a", "machine": "m"}).get("f") == {"value": 1}
    assert Finished(path, {"engine": "b", "machine": "m"}).get("f") is None
    assert Finished(path, {"engine": "a", "machine": "n"}).get("f") is None


def test_a_claim_whose_run_diverged_is_left_out_alone(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Counted(), Counted(DivergedError("the loss became nan"))
    report = Report("seeds")
    runner = seeds.Runner(PLACE, report, None)
    broken = claim_of(bad, (5,))
    finished = seeds.run_claims([broken, claim_of(good)], runner, report)
    assert len(finished) == 1
    assert "left out: the loss became nan" in capsys.readouterr().err


def head(dataset: str = "mnist") -> dict[str, Any]:
    setting = {"dataset": dataset, "seeds": 3, "threads": 2, "device": "cpu"}
    return {"machine": "a machine", "against": {"torch": "2"}, "setting": setting}


PAGE = "docs/results.md"
OTHER = {
    "benchmark": "engine", "commit": "def", "machine": "a machine", "foreign_load": 0.5,
    "setting": {"threads": 2}, "against": {"norse": "1"},
    "figures": [
        {"name": "time", "value": 0.5, "unit": "", "better": "lower", "aim": 0.55},
        {"name": "size", "value": 0.5, "unit": "MB", "better": "higher", "aim": 2.0},
    ],
}  # fmt: skip


def test_the_page_holds_every_row_with_its_label_and_every_deviation() -> None:
    finished = [stubbed(claim) for claim in claims(Scale(seeds=2))]
    text = page(finished, head=head(), path=PAGE)
    for claim, results in finished:
        assert f"\n## {claim.title}\n" in text
        assert all(f"\n- {deviation}\n" in text for deviation in claim.deviations)
        assert all(f"| {row.what} |" in text for row in claim.rows(results))
        assert all(f"\n| {run.name} | " in text for run in claim.runs)
        assert all(f": {other.what} | " in text for other in claim.elsewhere)
    assert all(f"*{label}*" in text for label in LABELS)
    assert "they need a GPU and days and were not run" in text
    assert "Commit `abc`" in text


def test_the_page_has_tables_of_equal_width_and_links_that_lead_somewhere() -> None:
    finished = [stubbed(claim) for claim in claims(Scale())]
    text = page(finished, head=head(), path=PAGE, others=[OTHER])
    widths = [
        {line.count("|") for line in block.splitlines()}
        for block in text.split("\n\n")
        if block.startswith("| ")
    ]
    assert len(widths) > 10
    assert all(len(width) == 1 for width in widths)
    for claim, results in finished:
        if any(row.published is not None for row in claim.rows(results)):
            assert f"(#{claim.title.lower().replace(' ', '-')})" in text


def test_the_page_repeats_the_documents_of_other_benchmarks() -> None:
    of_cifar10 = {**OTHER, "benchmark": "seeds", "setting": {"dataset": "cifar10"}}
    text = page([], head=head(), path=PAGE, others=[OTHER, of_cifar10])
    assert "| `time` | 0.5 | lower | 0.55 | yes |" in text
    assert "| `size` | 0.5 MB | higher | 2 | no |" in text
    assert "0.5 cores; timings are not to be quoted" in text
    assert "Run on another machine; its figures stand below." in text
    assert "python -m benchmarks.engine --json > engine.json" in text


def test_what_is_not_trained_has_no_settings_of_a_training_on_the_page() -> None:
    text = page([stubbed(CLAIMS["saf"](Scale()))], head=head(), path=PAGE)
    assert text.startswith("# Results: spike accumulation against online training through time\n")
    (planned,) = [line for line in text.splitlines() if line.startswith("| planned |")]
    assert planned == "| planned | 0 | vgg11 | 64 | 8 |  | 6 |  |  | 128 |  |  | 3 |"


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_page_of_quick_runs_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        seeds.main(["--markdown", "page.md", "--quick"])
    assert "--markdown needs runs at full size" in capsys.readouterr().err


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    with pytest.raises(ValueError, match="give what a benchmark printed with --json"):
        seeds.read_document(path)
    path.write_text(json.dumps({"figures": []}))
    with pytest.raises(ValueError, match="has no against, benchmark, commit"):
        seeds.read_document(path)
    path.write_text(json.dumps(OTHER))
    assert seeds.read_document(path) == OTHER


def test_epochs_replace_every_runs_own() -> None:
    assert lenet(Scale(epochs=7)).epochs == 7
    scale = Scale(dataset="cifar10", epochs=7, published=True)
    config = CLAIMS["grad-r"](scale).runs[0].config
    assert (config.epochs, config.width, config.votes) == (7, 256, 10)


def test_what_is_published_is_refused_where_nothing_was(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        seeds.main(["--published", "--only", "saf"])
    assert (
        "--published: saf has no published form on mnist; these have one: spike-bp"
        in capsys.readouterr().err
    )
    assert lenet(Scale(published=True)).timesteps == 100


def test_the_page_of_cifar10_says_what_its_images_are_and_how_to_make_it() -> None:
    document = head()
    document["setting"] |= {
        "dataset": "cifar10", "images": "JPEG q75", "published": True, "epochs": 3,
    }  # fmt: skip
    text = page([], head=document, path="docs/results-cifar10.md")
    assert text.startswith("# Results on CIFAR-10\n")
    assert "10,000 test images of CIFAR-10 (JPEG q75)," in text
    assert '--dataset cifar10 --published --epochs 3 --images "JPEG q75" ' in text
    assert "--markdown docs/results-cifar10.md" in text


def test_an_interrupted_run_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run leaves beside the file is there when it is begun again, and goes at its end."""
    seen: list[list[str]] = []

    def measure(config: RunConfig, place: Place) -> dict[str, float]:
        assert place.folder is not None
        place.folder.mkdir(parents=True, exist_ok=True)
        seen.append(sorted(path.name for path in place.folder.iterdir()))
        (place.folder / "epoch").touch()
        if len(seen) == 1:
            raise KeyboardInterrupt
        return {"accuracy": 1.0}

    run = Run(name="a", config=DIGITS, measure=measure)
    runner = seeds.Runner(PLACE, Report("seeds"), tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt):
        runner(run)
    assert runner(run).values == {"accuracy": 1.0}
    assert seen == [[], ["epoch"]]
    assert [path.name for path in tmp_path.rglob("epoch")] == []


def test_all_at_once_takes_the_most_accurate_point_that_is_cheap_enough() -> None:
    points = [
        OperatingPoint(
            timesteps=timesteps, exit_thresholds=(), detector_threshold=0.5, blocks=1,
            metrics={"synaptic_ops": ops, "accuracy": accuracy},
        )
        for timesteps, ops, accuracy in ((1, 10.0, 0.5), (2, 20.0, 0.8), (3, 40.0, 0.9))
    ]  # fmt: skip
    assert chosen(points, 20.0).timesteps == 2
    assert chosen(points, 50.0).timesteps == 3
    assert chosen(points, 5.0).timesteps == 1  # none is: what comes nearest
