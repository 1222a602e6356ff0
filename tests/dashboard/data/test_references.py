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


def test_references_that_come_with_the_project_are_without_fault() -> None:
    root = Path(dashboard.__file__ or "").parents[1]
    references, faults = load_references(root / "studies" / "references")
    assert faults == ()
    assert references
    assert all(reference.source for reference in references)


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
    references, faults = read_references({"reference": [GOOD, GOOD | change]})
    assert len(references) == 1
    assert faults[0].startswith("reference 2: ")
    assert said in "\n".join(faults)


def test_a_file_that_is_no_toml_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[[reference]\n")
    (tmp_path / "b.toml").write_text(
        '[[reference]]\nname = "A"\ndataset = "mnist"\nsource = "B"\naccuracy = 0.99\n'
    )
    references, faults = load_references(tmp_path)
    assert [reference.name for reference in references] == ["A"]
    assert len(faults) == 1
    assert faults[0].startswith("a.toml: ")


DOCUMENT = {"reference": [GOOD, GOOD | {"synaptic_ops": 5e6, "note": "x"}]}


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
    references, faults = load_references(tmp_path)
    assert references or faults or not content.strip()
    for fault in faults:
        assert fault.startswith("a.toml: ")
        assert "\n" not in fault
        assert len(fault) < 1000
    for reference in references:
        assert all(isinstance(value, float) for value in reference.metrics.values())


@pytest.mark.parametrize("number", ["0x" + "f" * 6000, "1" + "0" * 400, "1e400", "true"])
def test_a_number_that_no_figure_can_show_is_a_fault(number: str, tmp_path: Path) -> None:
    text = tomli_w.dumps({"reference": [GOOD]}).replace(
        "accuracy = 0.9", f"synaptic_ops = {number}"
    )
    (tmp_path / "a.toml").write_text(text)
    assert "must be a finite number, got " in load_references(tmp_path)[1][0]


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    text = tomli_w.dumps({"reference": [GOOD]})
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    references, faults = load_references(tmp_path)
    assert ([reference.name for reference in references], faults) == (["A"], ())


def test_what_is_no_file_is_a_fault_and_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "gone.toml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.toml")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml")).write_text("[")
    faults = load_references(tmp_path)[1]
    assert faults[:3] == tuple(f"{name}.toml: is no file" for name in ("folder", "gone", "pipe"))
    assert faults[3].startswith(r"\xff.toml: ")
    assert [name for name, _ in stamp(tmp_path)][:2] == ["folder.toml", "pipe.toml"]
    assert (
        "must be a folder of published results, got a file" in load_references(Path(__file__))[1][0]
    )
