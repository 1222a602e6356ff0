"""Studies of an own training: `[run] train`, `[metrics]`, any axes; every fault by its key."""

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search.study import own_training
from search.study.own_training import FunctionError
from search.study.space import RandomSuggest
from search.study.study import Study, StudyError, load_study, study_from_toml
from search.trial.function_config import FunctionConfig, config_of
from snn.settings.measurement import METRICS

STUDY = """
name = "mine"
objectives = ["accuracy", "energy_uj"]
[metrics]
accuracy = { better = "higher" }
energy_uj = { better = "lower", unit = "uJ", meaning = "measured on the board" }
[run]
train = "mine:train"
epochs = 4
layers = [16, 32]
[space]
width = { low = 1, high = 30 }
rate = { low = 1e-4, high = 1.0, log = true }
kind = ["a", "b"]
flag = [true, false]
depth = { low = 1, high = 3, when = { kind = "b" } }
"""
CODE = """
def train(params, context):
    for epoch in range(4):
        yield {"accuracy": 0.5, "energy_uj": 1.0}

def plain(params, context):
    return {"accuracy": 0.5}

def outer(params, context):
    def inner():
        yield 1
    return inner()

class Thing:
    pass

other = train
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "mine.toml").write_text(STUDY)
    return tmp_path


def test_axes_have_the_kinds_of_their_values_and_any_names(folder: Path) -> None:
    study = load_study(folder / "mine.toml")
    kinds = {name: type(axis).__name__ for name, axis in study.space.axes.items()}
    assert kinds == {
        "width": "Integer", "rate": "Real", "kind": "Choice", "flag": "Choice", "depth": "Integer",
    }  # fmt: skip
    params = study.space.sample(RandomSuggest(1))
    study.space.validate(params)
    config = study.config(params)
    assert isinstance(config, FunctionConfig)
    assert config.params == {"epochs": 4, "layers": [16, 32], **params}
    assert config.total_epochs == 4
    assert config_of(config.to_mapping()) == config
    assert config.replace(seed=3).fingerprint != config.fingerprint
    assert study.metrics["energy_uj"].unit == "uJ"
    assert study.reported == ("accuracy", "energy_uj")
    assert study.code


def test_a_stored_text_is_read_without_its_code() -> None:
    study = study_from_toml(STUDY)
    assert (study.train, study.code) == ("mine:train", "")
    assert study.question_fingerprint == study_from_toml(STUDY).question_fingerprint
    other = STUDY.replace('better = "lower"', 'better = "higher"')
    assert study.differences(study_from_toml(other)) == ["metrics.energy_uj"]


def test_overrides_keep_the_code_and_know_own_settings(folder: Path) -> None:
    study = load_study(folder / "mine.toml")
    changed = study.with_overrides(trials=3, sets={"width": "4", "kind": "b", "epochs": "2"})
    assert (changed.code, changed.folder) == (study.code, folder.resolve())
    params = changed.space.sample(RandomSuggest())
    assert (params["width"], params["kind"], changed.run["epochs"]) == (4, "b", 2)
    with pytest.raises(StudyError, match="widht is not a setting of a run; did you mean 'width'"):
        study.with_overrides(sets={"widht": "4"})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"mine:train"', '"mine"', "run.train must be like 'module:function', got 'mine'"),
        ('"mine:train"', '"nowhere:train"', "has no module 'nowhere': neither in"),
        ('"mine:train"', '"mine:trian"', "has no function 'trian'; did you mean 'train'"),
        ('"mine:train"', '"mine:plain"', "plain is no generator: `yield` the metrics"),
        ('"mine:train"', '"mine:outer"', "outer is no generator"),
        ('"mine:train"', '"random:train"', "a module of Python itself; rename your file"),
        ("epochs = 4", "epochs = 0", "run.epochs must be at least 1"),
        ("epochs = 4", "seed = -1", "run.seed must be at least 0"),
        ("layers = [16, 32]", "day = 2026-01-01", "run.day must be text, a number"),
        ("layers = [16, 32]", "x = nan", "run.x must be finite, got nan"),
        ('better = "lower"', 'better = "less"', "metrics.energy_uj.better must be 'higher' or"),
        ('better = "lower", unit', "unit", "metrics.energy_uj.better must be 'higher' or 'lower'"),
        ('{ better = "higher" }', '{ better = "lower" }', "metrics.accuracy.better must be 'high"),
        ('unit = "uJ"', "unit = 1", "metrics.energy_uj.unit must be text"),
        ('unit = "uJ"', 'units = "uJ"', "metrics.energy_uj.units is not a known key; did you mean"),
        ("energy_uj = {", "trial = {", "metrics.trial has a reserved name"),
        ("energy_uj = {", "Energy = {", "metrics.Energy must have a name of up to 60 lower-case"),
        ("energy_uj = {", "width = {", "metrics.width has the name of a setting"),
        ('"energy_uj"]', '"energy"]', "objectives must name a metric, got 'energy'; did you mean"),
        ("low = 1, high = 30", "low = 30, high = 1", "space.width.low must be at most high"),
        ("low = 1e-4", "low = 0.0", "space.rate.low must be above 0 with log = true"),
        ('["a", "b"]', '["a", [1]]', "space.kind must be text, a number, true or false"),
        ('kind = "b"', 'kind = "c"', "space.depth.when.kind must be one of a, b, got 'c'"),
        ("width = {", "layers = {", "space.layers is in .run. too"),
        ("width = {", "train = {", "space.train is no axis"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_key(folder: Path, old: str, new: str, said: str) -> None:
    assert STUDY.count(old) >= 1
    (folder / "mine.toml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(StudyError, match=said):
        load_study(folder / "mine.toml")


def test_early_stopping_needs_to_know_how_many_epochs_there_are(folder: Path) -> None:
    text = STUDY.replace("epochs = 4\n", "") + '[search]\nstopping = "moasha"\n'
    with pytest.raises(StudyError, match=r"search\.stopping needs run.epochs"):
        study_from_toml(text)


def test_metrics_without_an_own_training_are_refused() -> None:
    text = '[metrics]\nx = { better = "lower" }\n[space]\nwidth = [4]\n'
    with pytest.raises(StudyError, match=r"metrics has an effect only with run\.train"):
        study_from_toml(f'name = "a"\nobjectives = ["accuracy"]\n{text}')


def test_what_is_no_python_is_refused_with_its_line(folder: Path) -> None:
    (folder / "mine.py").write_text("def train(:\n")
    with pytest.raises(StudyError, match=r"mine.py, line 1: is not Python"):
        load_study(folder / "mine.toml")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other", None),
        ("plain", "is no generator"),
        ("Thing", "is no generator"),
        ("nothing", "has no function 'nothing'"),
    ],
)
def test_a_function_is_checked_again_when_it_is_imported(
    folder: Path, name: str, said: str | None
) -> None:
    if said is None:
        function, code = own_training.load(f"mine:{name}", folder)
        assert next(function({}, None)) == {"accuracy": 0.5, "energy_uj": 1.0}
        assert code == load_study(folder / "mine.toml").code
        return
    with pytest.raises(FunctionError, match=said):
        own_training.load(f"mine:{name}", folder)


def test_a_changed_file_and_one_of_another_folder_are_imported_anew(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before, code = own_training.load("mine:train", folder)
    (folder / "mine.py").write_text(CODE.replace("0.5", "0.75"))
    after, changed = own_training.load("mine:train", folder)
    assert code != changed
    assert next(after({}, None))["accuracy"] == 0.75
    other = tmp_path_factory.mktemp("other")
    (other / "mine.py").write_text(CODE.replace("0.5", "0.25"))
    there, _ = own_training.load("mine:train", other)
    assert next(there({}, None))["accuracy"] == 0.25
    assert next(before({}, None))["accuracy"] == 0.5


def test_a_module_that_raises_is_told_with_its_error(folder: Path) -> None:
    (folder / "mine.py").write_text("import nothing_like_it\n" + CODE)
    with pytest.raises(FunctionError, match="cannot be imported: ModuleNotFoundError: No module"):
        own_training.load("mine:train", folder)


def of_python(train: Any, **changes: Any) -> Study:
    tables: dict[str, Any] = {
        "name": "mine",
        "objectives": ["accuracy"],
        "run": {"train": train},
        "space": {"width": [1, 2]},
    }
    return Study(**{**tables, **changes})


def test_a_function_without_a_module_is_kept_itself() -> None:
    def train(params: dict[str, Any], context: Any) -> Iterator[dict[str, float]]:
        yield {"accuracy": params["width"]}

    study = of_python(train)
    assert study.function is train
    assert study.code
    assert study.with_overrides(trials=2).function is train
    assert study.run["train"] == f"{__name__}:train"


def plain(params: dict[str, Any], context: Any) -> dict[str, float]:
    return {}


def of_one_argument(params: dict[str, Any]) -> Iterator[dict[str, float]]:
    yield {}


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (lambda params, context: None, "is no generator"),
        (of_one_argument, "must take two arguments"),
    ],
)
def test_a_function_of_python_is_checked_at_once(train: Callable[..., Any], said: str) -> None:
    def local(*arguments: Any) -> Any:
        return (yield from train(*arguments))

    local.__wrapped__ = train  # type: ignore[attr-defined]
    local.__signature__ = None  # type: ignore[attr-defined]
    del local.__signature__  # type: ignore[attr-defined]
    with pytest.raises(StudyError, match=said):
        of_python(local)


def test_params_that_json_cannot_have_are_refused() -> None:
    with pytest.raises(StudyError, match="has a value that a study file cannot have"):
        of_python("mine:train", run={"train": "mine:train", "model": object()})


def test_every_metric_of_spikefront_can_be_reported(folder: Path) -> None:
    assert load_study(folder / "mine.toml").metrics.keys() == {*METRICS, "energy_uj"}
    assert textwrap.dedent(STUDY)
