"""Simulated recordings of images that move along three saccades."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from snn.data.events import saccades, store
from snn.data.events.own import SOURCES
from snn.data.events.saccades import recorded
from snn.data.events.store import open_store
from snn.data.image_files import DataError

SADDLE = np.zeros((1, 28, 28), np.uint8)
SADDLE[0, 8:20, 12:16] = 255  # a bar


def test_recordings_repeat_bit_for_bit_in_any_company() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8)).astype(np.uint8)
    first, again = (recorded(images, (10, 10), (0, 0)) for _ in range(2))
    assert all(np.array_equal(a, b) for one, two in zip(first, again, strict=True)
               for a, b in zip(one, two, strict=True))  # fmt: skip
    other = recorded(images, (10, 10), (1, 0))  # another part: noise of its own
    assert any(len(one.time) != len(two.time) for one, two in zip(first, other, strict=True))


@pytest.mark.skipif(saccades._library() is None, reason="there is no C compiler")
def test_the_compiled_body_makes_the_events_of_the_one_in_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 20, 28)).astype(np.uint8)
    images[:, 5:12] //= 50  # dark parts, where events are rare
    images[6] = 0
    made = recorded(images, (34, 30), (0, 0))
    monkeypatch.setattr(saccades, "_library", lambda: None)
    for ours, theirs in zip(made, recorded(images, (34, 30), (0, 0)), strict=True):
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, two)
    assert len(made[0].time) > 50 * len(made[6].time)


def test_a_bar_that_moves_has_events_on_and_off_in_bursts_of_each_saccade() -> None:
    (events,) = recorded(SADDLE, (34, 34), (0, 0))
    assert (np.diff(events.time) >= 0).all()
    assert 0 <= events.time[0] < events.time[-1] <= 315_000
    assert 0.45 < events.on.mean() < 0.55  # what gets brighter gets dark again
    third = np.bincount(events.time // 15_000, minlength=21)[:21].reshape(3, 7)
    assert (third[:, 3] > 3 * third[:, [0, 6]].max(axis=1)).all()  # fast in the middle of each
    first = events.time < 105_000  # the view goes down: the bar goes up, its bright edge first
    on, off = (events.y[first & (events.on == value)].mean() for value in (1, 0))
    assert on < off - 3


def test_an_image_that_is_black_has_noise_only() -> None:
    counts = [len(e.time) for e in recorded(np.zeros((50, 8, 8), np.uint8), (10, 10), (0, 0))]
    assert 2 < np.mean(counts) < 4.3  # 0.1 Hz, 100 pixels, 315 ms: 3.15, 4.5 deviations


def test_the_digits_of_scikit_learn_need_no_file_and_stderr_says_how_many_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "TOLD_S", 0.0)
    found = open_store(SOURCES["digits-saccades"].layout(tmp_path), tmp_path)
    told = capsys.readouterr().err
    for line in ("training part: 0 of 1,438", "training part: 1,437 of 1,438", "part: 9 of 359"):
        assert f"{line} recordings are read and kept for all later runs\n" in told
    monkeypatch.undo()
    open_store(SOURCES["digits-saccades"].layout(tmp_path), tmp_path)
    assert capsys.readouterr().err == ""
    assert (len(found.train), len(found.test), found.shape) == (1438, 359, (2, 10, 10))
    assert np.diff(found.train.start).min() > 100


def test_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put the four MNIST files"):
        SOURCES["mnist-saccades"].layout(tmp_path)
    (tmp_path / "mnist").mkdir()
    for part, count in (("train", 4), ("t10k", 2)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28)).astype(np.uint8)
        for kind, magic, content in (
            ("images-idx3", struct.pack(">4i", 2051, count, 28, 28), images.tobytes()),
            ("labels-idx1", struct.pack(">2i", 2049, count), bytes(range(count))),
        ):
            path = tmp_path / f"mnist/{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(magic + content))
    found = open_store(SOURCES["mnist-saccades"].layout(tmp_path), tmp_path / "cache")
    assert found.train.label.tolist() == [0, 1, 2, 3]
    assert found.test.label.tolist() == [0, 1]
    assert found.shape == (2, 34, 34)
