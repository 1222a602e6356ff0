"""Weights belong to a study of a store: not overwritten, not lost in a move, not lost for ever."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from search.runners.run import BLOCKS, RunReport, run_study
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Artifact, Trial, TrialState
from search.worker.uploading import without_weights
from tests.search.fake_engine import FakeEngine, FakeRun

TEXT = """
name = "small"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 3
[run]
epochs = 2
[space]
width = { low = 1, high = 200 }
[search]
sampler = "random"
"""


def run(
    url: str, *, artifacts: Path, name: str = "small", trials: int = 3, engine: Any = None
) -> RunReport:
    text = TEXT.replace('"small"', f'"{name}"').replace("trials = 3", f"trials = {trials}")
    with Store(url) as store:
        return run_study(
            study_from_toml(text),
            store=store,
            artifacts=artifacts,
            data_dir=artifacts,
            workers=0,
            engine=engine or FakeEngine(),
        )


def weights(url: str, name: str = "small") -> list[Path]:
    with Store(url, read_only=True) as store:
        kept = [trial.artifact for trial in store.trials(name)]
    return [Path(artifact.uri) for artifact in kept if artifact is not None]


def test_studies_of_one_name_in_two_stores_share_no_file(tmp_path: Path) -> None:
    """The second run overwrote the weights of the first, whose exports were then refused."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two")]
    for url in urls:
        run(url, artifacts=tmp_path / "artifacts")
    first, second = (weights(url) for url in urls)
    assert len({*first, *second}) == 6
    assert all(path.is_file() for path in (*first, *second))


def test_a_copy_of_a_store_that_continues_overwrites_nothing(tmp_path: Path) -> None:
    one, two = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two"))
    run(one, artifacts=tmp_path / "artifacts", trials=1)
    shutil.copy(tmp_path / "one.db", tmp_path / "two.db")
    for url in (one, two):
        run(url, artifacts=tmp_path / "artifacts", trials=2)
    assert weights(one)[0] == weights(two)[0]
    assert weights(one)[1] != weights(two)[1]


@pytest.mark.parametrize("name", [BLOCKS, "a", "A"])
def test_the_folder_of_a_study_has_an_id(name: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    run(url, artifacts=tmp_path, name=name, trials=1)
    [path] = weights(url, name)
    assert path.parent.name.startswith(f"{name}-")
    assert len(path.parent.name) == len(name) + 9


@pytest.mark.parametrize("place", ["runs", "."])
def test_weights_are_found_after_the_project_was_moved(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    (old / place).mkdir(parents=True)
    run(f"sqlite:///{old}/{place}/store.db", artifacts=old / "runs" / "artifacts")
    before = [path.relative_to(old) for path in weights(f"sqlite:///{old}/{place}/store.db")]
    new.parent.mkdir()
    old.rename(new)
    url = f"sqlite:///{new}/{place}/store.db"
    assert [path.relative_to(new) for path in weights(url)] == before
    assert all(path.is_file() for path in weights(url))
    with Store(url, read_only=True) as store:
        trial = store.trial("small", 0)
        assert trial.config is not None
        found = store.weights_of("small", trial.config.training_fingerprint)
    assert found == (0, str(new / before[0]))


class FullDisk(FakeEngine):
    """An engine whose weights cannot be saved while the file `full` is there."""

    def __call__(self, config: Any, **place: Any) -> FakeRun:
        running = super().__call__(config, **place)
        if not (place["data_dir"] / "full").exists():
            return running
        outcome = without_weights(running.outcome, OSError(28, "No space left on device"))

        class Full(FakeRun):
            @property
            def outcome(self) -> Any:
                return outcome

        running.__class__ = Full
        return running


def test_missing_weights_are_counted_and_made_up_for_by_the_next_run(tmp_path: Path) -> None:
    url, engine = f"sqlite:///{tmp_path}/store.db", FullDisk()
    (tmp_path / "full").touch()
    assert run(url, artifacts=tmp_path, engine=engine).without_weights == 3
    assert weights(url) == []
    before = trials(url)
    assert run(url, artifacts=tmp_path, engine=engine).without_weights == 3  # still full
    (tmp_path / "full").unlink()
    report = run(url, artifacts=tmp_path, engine=engine)  # although the budget is spent
    assert (report.without_weights, report.trials) == (0, {})
    assert all(path.is_file() for path in weights(url))
    after = trials(url)
    assert [trial.state for trial in after] == [TrialState.COMPLETE] * 3
    for old, new in zip(before, after, strict=True):
        assert isinstance(new.artifact, Artifact)
        assert (new.sampled, new.epochs_done, new.finished_at) == (
            old.sampled,
            old.epochs_done,
            old.finished_at,
        )
        assert new.reason == ""
    assert run(url, artifacts=tmp_path, engine=engine).trials == {}


def trials(url: str) -> list[Trial]:
    with Store(url, read_only=True) as store:
        return store.trials("small")
