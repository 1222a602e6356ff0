"""Environment variables with values that cannot be used: a line each, and nothing is written."""

from pathlib import Path

import pytest

from dashboard.data.references import folder, load_references
from search.commands import cli
from search.doctor import environment
from search.doctor.environment import KNOWN


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", KNOWN)
def test_a_variable_that_is_no_text_is_a_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "caf\udce9")
    assert cli.main(["studies"]) == 2
    assert capsys.readouterr().err == (
        f"spikefront: ${name} must be UTF-8 text, got 'caf\\xe9'; rename the file or folder\n"
    )


@pytest.mark.parametrize("name", KNOWN)
def test_an_empty_variable_is_as_none(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "")
    assert cli.main(["studies"]) == 2
    assert capsys.readouterr().err == (
        "spikefront: no store at sqlite:///runs/spikefront.db: run a study first\n"
    )
    assert not [check for look in environment.LOOKS for check in look({name: ""})]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["validate", "s.toml"], "SPIKEFRONT_DATA"),
        (["run", "s.toml"], "SPIKEFRONT_DATA"),
        (["run", "s.toml", "--data", "file"], "--data"),
    ],
)
def test_a_file_is_no_folder_of_data(
    words: list[str],
    place: str,
    working_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (working_folder / "file").touch()
    if place == "SPIKEFRONT_DATA":
        monkeypatch.setenv(place, "file")
    assert cli.main(words) == 2
    assert capsys.readouterr().err == (
        f"spikefront: {place}: must be a folder of data sets, got the file file\n"
    )
    assert [path.name for path in working_folder.iterdir()] == ["file"]


@pytest.mark.parametrize("value", [".", " ", "file/x.db", "sqlite:///.", "sqlite:///file/x.db"])
def test_a_store_that_is_none_is_a_line(
    value: str,
    working_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (working_folder / "file").touch()
    monkeypatch.setenv("SPIKEFRONT_STORE", value)
    assert cli.main(["studies"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("spikefront: ")


def test_references_and_switches_that_are_none_are_said(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (working_folder / "file").touch()
    monkeypatch.setenv("SPIKEFRONT_REFERENCES", "file")
    assert load_references(folder()).faults == (
        "file must be a folder of published results, got a file",
    )
    given = {"SPIKEFRONT_REFERENCES": "file", "SPIKEFRONT_NATIVE": "no"}
    found = {check.name: check.finding for look in environment.LOOKS for check in look(given)}
    assert found == {
        "SPIKEFRONT_REFERENCES": "must be a folder, got file",
        "SPIKEFRONT_NATIVE": "must be 0 or 1, got 'no', which is read as 1",
    }
