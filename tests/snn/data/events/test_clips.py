"""Clips: recordings where images are expected, from the split to the replay."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from snn.data import dataset
from snn.data.augmentation import augment
from snn.data.dataset import DataError, Split
from snn.data.events import clips
from snn.data.events.clips import Clips
from snn.evaluation.evaluate import evaluate
from snn.evaluation.replay import Replay
from snn.network.trained import Images
from snn.settings.config import RunConfig
from snn.settings.datasets import RECORDINGS
from snn.training.train import Training
from tests.snn.data.events.test_sources import table
from tests.snn.data.events.writers import five_bytes

CONFIG = RunConfig(
    dataset="n-mnist", backbone="mlp", width=8, head_hidden=0, timesteps=3, epochs=1, batch_size=8,
    clip_ms=120, validation_fraction=0.25,
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with four training recordings and one test recording of each digit."""
    folder = tmp_path_factory.mktemp("n-mnist")
    for digit in range(10):
        for index in range(5):
            path = folder / "NMNIST" / ("Train" if index else "Test") / str(digit) / f"{index}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(five_bytes(table(10 * index + digit)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def split(root: Path, **changes: object) -> Split:
    return dataset.split_for(CONFIG.replace(**changes), root, "cpu")


def clips_in(found: Split) -> Clips:
    assert isinstance(found.train_images, Clips)
    return found.train_images


def test_frames_are_the_same_whether_kept_or_made_for_each_batch(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = clips_in(split(root))
    assert kept.shape == (30, 3, 2, 34, 34)
    whole = kept[torch.arange(30)]
    assert whole.sum() > 0
    monkeypatch.setattr(clips, "RESIDENT_BYTES", 0)
    made = clips_in(split(root))
    assert torch.equal(torch.cat(list(made.split(7))), whole)
    assert torch.equal(made.subset(torch.tensor([4, 2]))[torch.tensor([1])], whole[[2]])
    assert torch.equal(made[5], whole[5])
    assert made.fingerprint == kept.fingerprint
    assert made.deviation == pytest.approx(float(whole.float().square().mean().sqrt()), rel=1e-6)


def test_every_setting_that_cuts_has_a_fingerprint_of_its_own(root: Path) -> None:
    changes: list[dict[str, object]] = [
        {}, {"timesteps": 4}, {"binning": "whole"}, {"binning": "count"}, {"clip_ms": 60.0},
        {"event_value": "counts"}, {"polarity": "merged"}, {"polarity": "signed"}, {"shrink": 2},
        {"seed": 1}, {"train_images": 20},
    ]  # fmt: skip
    assert len({split(root, **change).fingerprint for change in changes}) == len(changes)


def test_all_frames_of_a_recording_are_moved_alike(root: Path) -> None:
    frames = clips_in(split(root))[torch.arange(4)]
    moved = augment(frames, "shift", torch.Generator().manual_seed(0))
    summed = augment(frames.flatten(1, 2), "shift", torch.Generator().manual_seed(0))
    assert torch.equal(moved.flatten(1, 2), summed)
    assert not torch.equal(moved, frames)


@pytest.mark.parametrize("polarity", ["two", "signed"])
def test_a_network_of_recordings_is_trained_evaluated_and_replayed(
    root: Path, polarity: str
) -> None:
    found = split(root, polarity=polarity)
    training = Training(CONFIG.replace(polarity=polarity), found)
    assert len(list(training)) == 1
    validation = Images(
        images=found.validation_images, labels=found.validation_labels,
        mean=found.mean, std=found.std,
    )  # fmt: skip
    metrics = evaluate(training.trained, validation).sampled.metrics
    assert metrics["latency_ms"] == pytest.approx(120)
    assert metrics["macs"] == 0
    assert isinstance(found.validation_images, Clips)
    events = found.validation_images[torch.arange(10)].to(torch.int64).abs().sum()
    assert metrics["input_events"] == pytest.approx(float(events) / 10)
    raster = Replay(training.trained, validation).raster(3)
    assert (raster.pixels.shape, raster.pixels.max()) == ((34, 34), 255)
    assert len(found.validation_images.whole_test()) == 10


def test_bins_of_no_fixed_length_need_the_whole_recording(root: Path) -> None:
    config = CONFIG.replace(binning="count")
    found = split(root, binning="count")
    assert isinstance(found.validation_images, Clips)
    seen = Images(
        images=found.validation_images, labels=found.validation_labels,
        mean=found.mean, std=found.std,
    ).seen_ms(config)  # fmt: skip
    part = found.validation_images.part
    ends = part.time[part.start[found.validation_images.index + 1] - 1] / 1000
    assert np.array_equal(seen, np.broadcast_to(ends, (3, 10)))


def grouped(root: Path, **changes: object) -> tuple[set[int], set[int]]:
    """Groups of the training and of the validation part, of five groups of four recordings."""
    found = dataset.recorded("n-mnist", root)
    store = replace(
        found.store,
        groups=("a", "b", "c", "d", "e"),
        train=replace(found.store.train, group=np.arange(40) % 5),
    )
    config = CONFIG.replace(**changes)
    made = dataset.split(
        replace(found, store=store),
        validation_fraction=config.validation_fraction,
        train_images=0,
        seed=config.seed,
        device="cpu",
        config=config,
    )
    parts = (made.train_images, made.validation_images)
    first, second = (set((part.index % 5).tolist()) for part in parts if isinstance(part, Clips))
    return first, second


def test_validation_is_of_whole_groups_where_a_data_set_is_in_groups(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grouped(root, validation_group="c") == ({0, 1, 3, 4}, {2})
    with pytest.raises(DataError, match="no training recording of group 'x'; its groups: a, b, c"):
        grouped(root, validation_group="x")
    assert grouped(root)[1] == {0, 1, 2, 3, 4}  # by recordings
    known = replace(RECORDINGS["n-mnist"], is_grouped=True)
    monkeypatch.setitem(RECORDINGS, "n-mnist", known)
    found = [grouped(root, seed=seed) for seed in range(5)]
    assert all(not first & second and len(second) == 1 for first, second in found)
    assert len({tuple(second) for _, second in found}) > 1
    # 14 of 40 are wanted: 16 are nearer than 8, and 24 are not
    assert len(grouped(root, validation_fraction=0.35)[1]) == 2
