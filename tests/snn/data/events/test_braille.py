"""Braille letters: both files that hold them, and what is wrong in one."""

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snn.data.events import braille
from snn.data.events.own import SOURCES
from snn.data.events.series import deviation, send_on_delta
from snn.data.events.store import Store, open_store
from snn.data.image_files import DataError

REAL = Path(__file__).parents[5] / "shared" / "data" / "events"


def letters() -> list[dict[str, Any]]:
    """Two recordings of each letter, a training and a test one, of 3 or 4 samples."""
    draws = np.random.default_rng(0)
    return [
        {
            "experiment_name": "braille_letters", "letter": name, "repetition": repetition,
            "taxel_data": draws.integers(0, 255, (3 + repetition % 2, 12)).astype(np.float64),
        }
        for name in ("Space", *braille.CLASSES[:19], *braille.CLASSES[20:])
        for repetition in (39, 40)
    ]  # fmt: skip


def pickled(folder: Path, content: object) -> Path:
    path = folder / "braille" / braille.FILES[0]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(content, protocol=4)))
    return path


def stored(root: Path) -> Store:
    return open_store(SOURCES["braille"].layout(root), root / "cache")


def test_the_last_ten_repetitions_are_the_test(tmp_path: Path) -> None:
    rows = letters()
    pickled(tmp_path, rows)
    found = stored(tmp_path)
    assert found.classes[18:20] == ("S", "Space")
    assert sorted(found.train.label.tolist()) == list(range(27))
    assert (len(found.train), len(found.test), found.interval_us) == (27, 27, 25_000)
    space = found.train.label.tolist().index(19)
    span = slice(found.train.start[space], found.train.start[space + 1])
    assert np.array_equal(found.train.value[span], rows[0]["taxel_data"])


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.getcwd, ()

    pickled(tmp_path, [{"letter": "A", "repetition": 0, "taxel_data": Evil()}])
    with pytest.raises(DataError, match=r"pkl.gz: .*it would call posix.getcwd"):
        stored(tmp_path)
    path = pickled(tmp_path, letters())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="is damaged or not the file of Braille letters"):
        stored(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"letter": "Ä"}, "recording 0: must be a letter A to Z or Space, got 'Ä'"),
        ({"taxel_data": np.zeros((3, 11))}, r"must be finite numbers \(samples, 12\), got \(3, 11"),
        ({"taxel_data": np.full((3, 12), np.nan)}, "must be finite numbers"),
        ({"taxel_data": np.zeros((3, 12), np.int32)}, "a table of 'i4'"),
    ],
)
def test_foreign_recordings_are_refused_by_number(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = letters()
    pickled(tmp_path, [rows[0] | change, *rows[1:]])
    with pytest.raises(DataError, match=message):
        stored(tmp_path)


def test_the_real_letters_have_the_known_events(tmp_path: Path) -> None:
    """With a threshold of one unit about 313 events a recording."""
    if not (REAL / "braille").exists():
        pytest.skip(f"{REAL}/braille is not there: recordings are not part of the project")
    found = open_store(SOURCES["braille"].layout(REAL), tmp_path)
    assert (len(found.train), len(found.test)) == (1080, 270)
    assert 6.9 < deviation(found.train) < 7.0
    events = send_on_delta(found.train, 1.0, found.interval_us)
    assert 300 < len(events.time) / 1080 < 325
    moving = np.unique(events.place % 12)
    assert moving.tolist() == [1, 2, 6, 10]
