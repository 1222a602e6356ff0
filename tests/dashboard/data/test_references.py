from pathlib import Path

import pytest

import dashboard
from dashboard.data.references import load_references, read_references

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
