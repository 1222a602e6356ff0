"""The commit that results name."""

import subprocess
from pathlib import Path

import pytest

from search.text import provenance


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_is_that_of_a_checkout_and_of_no_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(provenance, "PROJECT", tmp_path)
    assert provenance.project_commit() is None
    git(tmp_path, "init")
    assert provenance.project_commit() is None
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").touch()
    assert provenance.project_commit() == commit
    (tmp_path / "inner" / "file").write_text("2")
    assert provenance.project_commit() == f"{commit}-dirty"
    monkeypatch.setattr(provenance, "PROJECT", tmp_path / "inner")
    assert provenance.project_commit() is None
