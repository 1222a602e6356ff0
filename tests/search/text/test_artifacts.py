"""Weights at places that are no folders: what pyarrow opens, as one file system or another."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from search.export.export import export_point
from search.export.folder import ExportError
from search.runners.run import run_study
from search.store.store import Store
from search.study.study import study_from_toml
from search.text import artifacts
from search.text.artifacts import ArtifactError
from search.trial.trial import TrialState
from tests.search.fake_engine import FakeEngine

STUDY = """
name = "far"
objectives = ["accuracy", "synaptic_ops"]
[budget]
trials = 2
[run]
dataset = "digits"
backbone = "resnet5"
train_images = 100
width = 4
head_hidden = 16
epochs = 1
timesteps = 2
[space]
exit_threshold = { low = 0.5, high = 0.99 }
partition = ["1+1"]
[search]
sampler = "random"
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A folder that pyarrow sees through another library, and so as no local one."""
    return f"fsspec+file://{tmp_path}/shelf"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_weights_go_to_a_place_are_taken_over_from_it_and_exported(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study = study_from_toml(STUDY)
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        run_study(study, store=store, artifacts=place, data_dir=tmp_path, workers=0)
        first, second = store.trials("far")
        assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.COMPLETE)
        assert first.artifact is not None
        folder = store.stored_study("far").folder
        assert first.artifact.uri == f"{place}/{folder}/00000.safetensors"
        assert second.artifact == first.artifact  # only another threshold: not trained again
        assert (second.epochs_done, second.reused_trial) == (0, 0)
        kept = tmp_path / "shelf" / folder
        assert files(kept) == ["00000.safetensors", "00000.safetensors.times.json"]
        weights = (kept / "00000.safetensors").read_bytes()
        assert hashlib.sha256(weights).hexdigest() == first.artifact.sha256
        assert len(files(tmp_path / "cache" / "spikefront" / "blocks")) == 2
        point = store.operating_points("far", 1)[0]
        out = export_point(store, "far", point, tmp_path / "out", data_dir=tmp_path)
        assert out.checked
        assert out.differences == ()
        (kept / "00000.safetensors").write_bytes(weights[:-1])
        with pytest.raises(ExportError, match="the file has changed since the trial"):
            export_point(store, "far", point, tmp_path / "again", data_dir=tmp_path)
        (kept / "00000.safetensors").unlink()
        with pytest.raises(ExportError, match="weights of trial 1 cannot be downloaded: "):
            export_point(store, "far", point, tmp_path / "again", data_dir=tmp_path)
        assert not (tmp_path / "again").exists()


def test_weights_that_cannot_be_sent_are_missing_with_the_reason(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "shelf").write_text("a file where the folder should be")
    study = study_from_toml(STUDY)
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        run_study(
            study, store=store, artifacts=place, data_dir=tmp_path, workers=0, engine=FakeEngine()
        )
        for trial in store.trials("far"):
            assert (trial.state, trial.artifact) == (TrialState.COMPLETE, None)
            assert trial.reason.startswith("weights were not saved: ")
            assert store.operating_points("far", trial.number)
            assert store.measurements("far", trial.number)
        (event,) = store.events("far")
        assert (event.kind, event.message) == ("note", store.trial("far", 0).reason)


def test_uploads_appear_complete_under_their_name(place: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        artifacts.upload(tmp_path, f"{place}/sub/weights")
    assert files(tmp_path) == []
    (tmp_path / "weights").write_text("some")
    artifacts.upload(tmp_path / "weights", f"{place}/sub/weights")
    artifacts.download(f"{place}/sub/weights", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "some"
    assert files(tmp_path / "shelf") == ["sub/weights"]


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_file_is_removed_with_what_a_killed_writer_left(
    is_remote: bool, place: str, tmp_path: Path
) -> None:
    code = f"""
import io, os, sys
from search.text import artifacts
artifacts.os.replace = lambda *names: os._exit(9)
if {is_remote}:
    opened = artifacts._open
    def cut(uri):
        system, path = opened(uri)
        class Cut:
            create_dir, open_output_stream = system.create_dir, system.open_output_stream
            def move(self, *names): os._exit(9)
        return Cut(), path
    artifacts._open = cut
artifacts.ArtifactFile(uri=sys.argv[1]).write(b"some")
"""
    uri = f"{place}/file" if is_remote else f"{tmp_path}/shelf/file"
    killed = subprocess.run([sys.executable, "-c", code, uri], check=False)
    assert killed.returncode == 9
    assert files(tmp_path / "shelf") == ["file.part"]
    artifacts.ArtifactFile(uri=uri).remove()
    assert files(tmp_path / "shelf") == []


def test_a_location_is_checked_first(place: str, tmp_path: Path) -> None:
    artifacts.check(place)
    assert files(tmp_path) == []
    with pytest.raises(
        ArtifactError, match=r"^nowhere://at/all: must be a location like .*, got: "
    ):
        artifacts.check("nowhere://at/all")


def test_a_name_goes_to_the_path_of_an_address(tmp_path: Path) -> None:
    address = "s3://bucket/folder/?region=eu-west-1"
    weights = artifacts.inside(address, "study", "00001")
    assert weights == "s3://bucket/folder/study/00001?region=eu-west-1"
    assert artifacts.beside(weights, ".json").startswith("s3://bucket/folder/study/00001.json?")
    assert artifacts.located(tmp_path.as_uri()) == str(tmp_path)
    assert artifacts.inside("hdfs:///folder", "study") == "hdfs:///folder/study"
    assert artifacts.inside(str(tmp_path), "a", "b") == f"{tmp_path}/a/b"


def test_credentials_do_not_belong_in_an_address_that_is_kept() -> None:
    with pytest.raises(
        ArtifactError, match=r"^s3://\*\*\*@bucket/x: must not contain a user"
    ) as refusal:
        artifacts.located("s3://key:secret@bucket/x")
    assert "secret" not in str(refusal.value)
