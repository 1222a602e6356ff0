"""Study files to start from are the studies they are made of, with everything explained."""

import json
import os
import tomllib
from pathlib import Path

import pytest

from search.commands import cli
from search.study.study import load_study, study_from_toml
from search.study.tables import BUDGET_SETTINGS, SEARCH_SETTINGS
from search.study.template import FOLDER, TemplateError, study_text, templates
from snn.settings.config import SETTINGS


@pytest.mark.parametrize("template", templates())
def test_a_new_study_is_its_template_under_another_name(template: str) -> None:
    made = study_from_toml(study_text("mine", template))
    shipped = load_study(FOLDER / f"{template}.toml")
    assert made.differences(shipped) == ["name"]
    assert made.budget == shipped.budget
    assert made.question
    assert "Result" not in made.question  # it has none yet
    assert "seed" not in made.question


def test_every_setting_stands_in_it() -> None:
    text = study_text("mine", "digits")
    run = text.partition("[run]")[2].partition("[space]")[0]
    assert "\n# timesteps = " not in run  # it varies
    for name in (*SETTINGS, *BUDGET_SETTINGS, *SEARCH_SETTINGS):
        assert f"\n# {name} = " in text or f"\n{name} = " in text, name


def test_what_stands_behind_a_mark_can_be_said() -> None:
    """Every default that is shown is TOML, and a value that is allowed."""
    text = study_text("mine", "digits")
    for table, names in (("[run]", SETTINGS), ("[search]", SEARCH_SETTINGS)):
        part = text.partition(table)[2].partition("\n[")[0]
        for line in part.splitlines():
            name, equals, value = line.removeprefix("# ").partition(" = ")
            if line.startswith("# ") and equals and name in names and not value.startswith("..."):
                kept = value.partition("   #")[0]
                said = tomllib.loads(f"{name} = {kept}")[name]
                said = tuple(said) if isinstance(said, list) else said
                assert names[name].fault(said) is None, line


def test_a_template_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(
        TemplateError,
        match=r"digits, .*mnist, .*, got 'digit'; did you mean",
    ):
        study_text("mine", "digit")


def test_init_writes_a_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "mine", "--template", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "mine.toml"
    assert load_study(tmp_path / "mine.toml").name == "mine"
    before = (tmp_path / "mine.toml").read_bytes()
    assert cli.main(["init", "mine.toml"]) == 2
    assert "mine.toml exists" in capsys.readouterr().err
    assert (tmp_path / "mine.toml").read_bytes() == before
    assert cli.main(["init", "../mine"]) == 2
    assert os.listdir(tmp_path) == ["mine.toml"]
