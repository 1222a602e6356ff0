"""Random changes of events, from the arrays to a training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from snn.data.events.changes import changed
from snn.settings.config import ConfigError, RunConfig
from snn.training.train import Training
from tests.snn.data.events.test_clips import CONFIG, clips_in, root, split

__all__ = ["root"]

COUNTS = np.array([4000, 0, 4000])


def events() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    half = np.sort(draws.integers(0, 1200, (2, 4000)), axis=1)
    return half.ravel().astype(np.uint32), np.arange(8000, dtype=np.uint32)


def test_dropping_keeps_between_half_and_all_of_each_recording_in_order() -> None:
    time, place = events()
    found = [
        changed(time, place, COUNTS, "drop-events", 1000, np.random.default_rng(seed))
        for seed in range(40)
    ]
    shares = np.array([counts[[0, 2]] / 4000 for _, _, counts in found])
    assert 0.45 < shares.min() < 0.6 < 0.9 < shares.max() <= 1
    assert abs(shares.mean() - 0.75) < 0.07  # 4 deviations of a mean of 80 even draws
    now, kept, counts = found[0]
    assert counts.sum() == len(now) == len(kept)
    assert np.array_equal(now, time[kept])  # places name the events
    assert (np.diff(kept.astype(np.int64)) > 0).all()


def test_jitter_moves_events_by_a_hundredth_of_the_clip_and_keeps_them_sorted() -> None:
    time, place = events()
    now, places, counts = changed(time, place, COUNTS, "jitter", 1000, np.random.default_rng(0))
    assert np.array_equal(counts, COUNTS)
    assert (np.diff(now[:4000].astype(np.int64)) >= 0).all()
    assert np.array_equal(np.sort(places), place)
    moves = now.astype(np.int64) - time[places]
    inside = (time[places] > 50) & (time[places] < 950)
    assert 9.5 < moves[inside].std() < 10.5
    late = time[places] > 1000
    assert (moves[late] == 0).all()
    assert now[~late].max() <= 1000


@pytest.mark.parametrize("kind", ["drop-events", "jitter", "shift-drop-jitter"])
def test_a_batch_changes_with_the_generator_and_repeats_with_its_seed(
    root: Path, kind: str
) -> None:
    found = clips_in(split(root))
    index = torch.arange(6)
    plain = found[index]
    one, same, other = (
        found.changed(index, kind, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, plain)
    assert not torch.equal(one, other)
    assert one.shape == plain.shape


def test_a_training_with_changes_repeats_and_differs_from_one_without(root: Path) -> None:
    def losses(augmentation: str) -> list[float]:
        config = CONFIG.replace(augmentation=augmentation)
        return [found.loss for found in Training(config, split(root))]

    first = losses("shift-drop-jitter")
    assert first == losses("shift-drop-jitter")
    assert first != losses("shift")


def test_images_have_no_events_to_change() -> None:
    with pytest.raises(ConfigError, match="augmentation 'jitter' changes events, which digits"):
        RunConfig(augmentation="jitter")
