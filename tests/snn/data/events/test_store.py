"""The store: built once, whole or not at all, and named by what it is made of."""

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snn.data.events import store
from snn.data.events.events import Events, Form
from snn.data.events.store import Item, Layout, open_store
from snn.data.image_files import DataError


def events(seed: int, count: int = 20, step: int = 5000) -> Events:
    draws = np.random.default_rng(seed)
    time = np.sort(draws.integers(0, count * step, count))
    return Events(time, draws.integers(0, 6, count), draws.integers(0, 4, count), time % 2)


def layout(
    folder: Path, *, train: list[tuple[Events, int]] | None = None, **changes: Any
) -> Layout:
    source = folder / "source"
    if not source.exists():
        source.write_text("recordings")

    def items(pairs: list[tuple[Events, int]], part: str) -> Iterator[Item]:
        for number, (found, label) in enumerate(pairs):
            yield Item(f"{part} {number}", label, lambda found=found: found)  # type: ignore[misc]

    given = [(events(n), n % 2) for n in range(6)] if train is None else train
    test = [(events(n), n % 2) for n in range(100, 103)]
    known: dict[str, Any] = {
        "name": "mine", "form": Form(shape=(2, 4, 6)), "classes": ("a", "b"), "files": (source,),
        "parts": lambda: (items(given, "train"), items(test, "test")),
    }  # fmt: skip
    return Layout(**known | changes)


def test_a_store_returns_what_was_put_in_and_is_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_store(layout(tmp_path), tmp_path / "cache")
    assert (len(made.train), len(made.test), made.shape) == (6, 3, (2, 4, 6))
    third = events(2)
    span = slice(made.train.start[2], made.train.start[3])
    assert np.array_equal(made.train.time[span], third.time - third.time[0])
    assert np.array_equal(made.train.place[span], (third.on * 4 + third.y) * 6 + third.x)
    assert made.train.label.tolist() == [0, 1, 0, 1, 0, 1]
    assert isinstance(made.train.time, np.memmap)
    monkeypatch.setattr(store, "_build", None)
    assert open_store(layout(tmp_path), tmp_path / "cache").fingerprint == made.fingerprint


def test_changed_files_and_declarations_make_another_store(tmp_path: Path) -> None:
    first = open_store(layout(tmp_path), tmp_path / "cache")
    (tmp_path / "source").write_text("other recordings")
    assert open_store(layout(tmp_path), tmp_path / "cache").fingerprint == first.fingerprint
    flipped = layout(tmp_path, form=Form(shape=(2, 4, 6), flips=(True, False)))
    assert open_store(flipped, tmp_path / "cache").fingerprint != first.fingerprint
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 3


def test_a_store_that_was_interrupted_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any moment: what was written is under another name, and is taken away."""

    def killed(*paths: Any) -> None:
        raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            open_store(layout(tmp_path), cache)
    assert [p for p in cache.iterdir() if p.is_dir()] == []
    left = cache / f".writing-mine-{store._key(layout(tmp_path))}"  # a process without clean-up
    left.mkdir()
    (left / "train-time.npy").write_bytes(b"half")
    assert len(open_store(layout(tmp_path), cache).train) == 6
    assert not left.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (store.HEADER, json.dumps({"shape": 3}).encode()),
        ("train-time.npy", pickle.dumps([0])),  # which is never unpickled
        ("test-label.npy", b""),
    ],
)
def test_a_damaged_store_says_what_to_delete(name: str, content: bytes, tmp_path: Path) -> None:
    open_store(layout(tmp_path), tmp_path / "cache")
    (folder,) = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged .*; delete this folder"):
        open_store(layout(tmp_path), tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="set XDG_CACHE_HOME to a folder with space"):
        open_store(layout(tmp_path), tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "the training part has no recordings"),
        ([(events(1), 0), (events(2), 0)], "all training recordings have the one class 'a'"),
        ([(events(1, 0), 0), (events(2, 0), 1)], "no training recording has any event"),
        ([(events(1, step=10), 0), (events(2, step=10), 1)], "the unit of time is probably"),
        ([(events(1, step=10**8), 0), (events(2, step=10**8), 1)], "the unit of time is probably"),
        ([(events(1), 0), (events(101), 1)], "test 1: is the same recording as train 1"),
    ],
)
def test_recordings_that_cannot_be_a_data_set_are_refused(
    train: list[tuple[Events, int]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        open_store(layout(tmp_path, train=train), tmp_path / "cache")
    assert [p for p in (tmp_path / "cache").iterdir() if p.is_dir()] == []


def test_few_events_may_be_the_same_in_both_parts(tmp_path: Path) -> None:
    """One event after the start is nothing that two recordings could not share."""
    train = [(events(1), 0), (events(2), 1), (Events(*np.array([[7], [3], [3], [1]])), 1)]
    again = Events(*np.array([[90], [3], [3], [1]]))
    given = layout(tmp_path, train=train)
    parts = given.parts()
    made = replace(given, parts=lambda: (parts[0], [*parts[1], Item("same", 1, lambda: again)]))
    assert len(open_store(made, tmp_path / "cache").test) == 4


def test_recordings_without_events_are_kept(tmp_path: Path) -> None:
    train = [(events(1), 0), (events(2, 0), 1)]
    assert len(open_store(layout(tmp_path, train=train), tmp_path / "cache").train) == 2


def test_two_builders_at_once_build_one_store(tmp_path: Path) -> None:
    first = open_store(layout(tmp_path), tmp_path / "cache")
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                again = open_store(layout(tmp_path), tmp_path / "other")
                code = int(again.fingerprint != first.fingerprint)
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert len([p for p in (tmp_path / "other").iterdir() if p.is_dir()]) == 1
