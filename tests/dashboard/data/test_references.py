import os
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

import dashboard
from dashboard.data.references import load_references, read_references, stamp
from tests.search.commands.test_damaged_files import FUZZ, changed, damaged

GOOD = {"name": "A", "dataset": "cifar10", "source": "B 2021", "accuracy": 0.9}
CURVE = {
    "name": "A",
    "dataset": "digits",
    "source": "B",
    "epochs": [8, 16.5],
    "hypervolume": [0.5, 0.7],
    "reference": {"accuracy": 0.0, "synaptic_ops": 5e6},
}


def test_references_that_come_with_the_project_are_without_fault() -> None:
    root = Path(dashboard.__file__ or "").parents[1]
    found = load_references(root / "studies" / "references")
    assert found.faults == ()
    assert found.references
    assert all(reference.source for reference in found.references)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": ""}, "source is missing"),
        ({"acuracy": 0.9}, "did you mean 'accuracy'"),
        ({"accuracy": 90.0}, "must be a fraction between 0 and 1"),
        ({"accuracy": float("nan")}, "must be a finite number"),
        ({"synaptic_ops": "many"}, "must be a finite number"),
        ({"name": "n" * 500}, "at most 200 characters"),
    ],
)
def test_a_fault_names_the_reference_the_key_and_what_is_allowed(
    change: dict[str, object], said: str
) -> None:
    found = read_references({"reference": [GOOD, GOOD | change]})
    assert len(found.references) == 1
    assert found.faults[0].startswith("reference 2: ")
    assert said in "\n".join(found.faults)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": ""}, "source is missing"),
        ({"epoch": [1]}, "epoch is unknown; did you mean 'epochs'?"),
        ({"hypervolume": [0.5, 1.2]}, "hypervolume must be between 0 and 1"),
        ({"hypervolume": []}, "hypervolume is missing"),
        ({"hypervolume": [0.5]}, "epochs must be as many as hypervolume, got 2 and 1"),
        ({"epochs": [8, 8]}, "epochs must rise, from 0 on"),
        ({"epochs": [8, "many"]}, "epochs must be a finite number"),
        ({"epochs": [*range(3000)]}, "epochs must be at most 2000 numbers, got 3000"),
        ({"epochs": [-1, 8]}, "epochs must rise, from 0 on"),
        ({"reference": {}}, "reference must be the worst value of each objective"),
        ({"reference": {"acuracy": 0.0}}, "reference.acuracy is not a metric"),
        ({"reference": {"accuracy": 40}}, "reference.accuracy must be a fraction"),
    ],
)
def test_a_fault_of_a_curve_is_one_line_with_its_place(
    change: dict[str, object], said: str
) -> None:
    found = read_references({"curve": [CURVE, CURVE | change]})
    assert len(found.curves) == 1
    [fault] = found.faults
    assert fault.startswith("curve 2: ")
    assert said in fault


def test_a_curve_without_epochs_is_a_ceiling_and_has_one_value() -> None:
    without = {name: value for name, value in CURVE.items() if name != "epochs"}
    found = read_references({"curve": [without | {"hypervolume": 0.9}, without]})
    assert [(curve.is_ceiling, curve.values) for curve in found.curves] == [(True, (0.9,))]
    assert found.faults == ("curve 2: epochs is missing; only one hypervolume is a ceiling, got 2",)


def test_curves_can_be_compared_where_objectives_and_reference_point_are_the_same() -> None:
    (curve,) = read_references({"curve": [CURVE]}).curves
    assert curve.is_measured_from({"synaptic_ops": 5_000_000.001, "accuracy": 0.0})
    assert not curve.is_measured_from({"synaptic_ops": 5.1e6, "accuracy": 0.0})
    assert not curve.is_measured_from({"accuracy": 0.0})
    assert not curve.is_measured_from({"accuracy": 0.0, "synaptic_ops": 5e6, "model_bytes": 1.0})


def test_a_file_that_is_no_toml_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[[reference]\n")
    (tmp_path / "b.toml").write_text(
        '[[reference]]\nname = "A"\ndataset = "mnist"\nsource = "B"\naccuracy = 0.99\n'
    )
    found = load_references(tmp_path)
    assert [reference.name for reference in found.references] == ["A"]
    assert len(found.faults) == 1
    assert found.faults[0].startswith("a.toml: ")


DOCUMENT = {"reference": [GOOD, GOOD | {"synaptic_ops": 5e6, "note": "x"}], "curve": [CURVE]}


@settings(FUZZ, max_examples=150)
@given(
    content=st.one_of(
        changed(DOCUMENT, nothing=False).map(lambda d: tomli_w.dumps(d).encode()),
        damaged(tomli_w.dumps(DOCUMENT).encode()),
        st.sampled_from([b"x = 0x" + b"f" * 6000, b"accuracy = " + b"9" * 6000, b"\xff\xfe", b""]),
    )
)
def test_a_file_with_wrong_content_gives_references_or_lines(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    found = load_references(tmp_path)
    assert any(found) or not content.strip()
    for fault in found.faults:
        assert fault.startswith("a.toml: ")
        assert "\n" not in fault
        assert len(fault) < 1000
    for reference in found.references:
        assert all(isinstance(value, float) for value in reference.metrics.values())
    for curve in found.curves:
        assert all(isinstance(value, float) for value in (*curve.epochs, *curve.values))


@pytest.mark.parametrize("number", ["0x" + "f" * 6000, "1" + "0" * 400, "1e400", "true"])
def test_a_number_that_no_figure_can_show_is_a_fault(number: str, tmp_path: Path) -> None:
    text = tomli_w.dumps({"reference": [GOOD]}).replace(
        "accuracy = 0.9", f"synaptic_ops = {number}"
    )
    (tmp_path / "a.toml").write_text(text)
    assert "must be a finite number, got " in load_references(tmp_path).faults[0]


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    text = tomli_w.dumps({"reference": [GOOD]})
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = load_references(tmp_path)
    assert ([reference.name for reference in found.references], found.faults) == (["A"], ())


def test_what_is_no_file_is_a_fault_and_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "gone.toml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.toml")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml")).write_text("[")
    faults = load_references(tmp_path).faults
    assert faults[:3] == tuple(f"{name}.toml: is no file" for name in ("folder", "gone", "pipe"))
    assert faults[3].startswith(r"\xff.toml: ")
    assert [name for name, _ in stamp(tmp_path)][:2] == ["folder.toml", "pipe.toml"]
    (fault,) = load_references(Path(__file__)).faults
    assert "must be a folder of published results, got a file" in fault
