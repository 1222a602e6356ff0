"""Data sets: read once, split reproducibly, stored as bytes until a batch is used."""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn.data.events.clips import Clips, clips_of
from snn.data.events.own import SOURCES as RECORDED
from snn.data.events.store import Store, open_store
from snn.data.image_files import SOURCES, Bytes, DataError, Source, stratified_order
from snn.settings.config import RunConfig, nearest
from snn.settings.datasets import RECORDINGS, is_recorded

__all__ = [
    "DataError",
    "Dataset",
    "Recorded",
    "Samples",
    "Split",
    "available",
    "load",
    "named",
    "normalise",
    "split",
    "split_for",
    "to_unit",
]


Samples = Tensor | Clips
"""Inputs: images, uint8 (images, channels, height, width), or recordings as frames."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """A data set of recordings; moments are those of an input that is not normalised."""

    name: str
    store: Store
    train_labels: Tensor
    test_labels: Tensor

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.store.classes)

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all recordings: the name of the data."""
        return self.store.fingerprint

    @property
    def mean(self) -> tuple[float, ...]:
        """Zero."""
        return (0.0,)

    @property
    def std(self) -> tuple[float, ...]:
        """One."""
        return (1.0,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """All images of a data set with their labels; shared between callers, read-only.

    Images are uint8 (images, channels, height, width), labels int64 (images,).
    `mean` and `std` are per channel over the training images, for pixels from 0 to 1;
    `std` is at least 1/255.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits over every image and label in order: the name of the data."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str(tuple(part.shape)).encode())
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def recorded(name: str, root: Path) -> Recorded:
    """Return the recordings of data set `name`, from its store, which may be built first.

    Raises DataError: files that are missing or damaged.
    """
    store = _store(name, root.absolute())
    return Recorded(
        name=name,
        store=store,
        train_labels=torch.from_numpy(np.array(store.train.label)),
        test_labels=torch.from_numpy(np.array(store.test.label)),
    )


@functools.lru_cache(maxsize=4)
def _store(name: str, root: Path) -> Store:
    return open_store(RECORDED[name].layout(root))


def named(name: str, root: Path) -> "Dataset | Recorded":
    """Return the images or recordings `name`. Raises DataError."""
    return recorded(name, root) if is_recorded(name) else load(name, root)


def split_for(config: RunConfig, root: Path, device: torch.device | str) -> "Split":
    """Return the training and the validation part of a config. Raises DataError."""
    return split(
        named(config.dataset, root),
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        seed=config.seed,
        device=device,
        config=config,
    )


def load(name: str, root: Path) -> Dataset:
    """Return the images `name`, read from their files under `root` and cached in memory.

    Raises DataError: an unknown name, or files that are missing or damaged.
    """
    _source(name).check(root)
    return _load(name, root.absolute())


@functools.lru_cache(maxsize=4)
def _load(name: str, root: Path) -> Dataset:
    train, test = _source(name).read(root)
    mean, std = _moments(train.images)
    return Dataset(
        name=name,
        train_images=torch.from_numpy(train.images),
        train_labels=torch.from_numpy(train.labels),
        test_images=torch.from_numpy(test.images),
        test_labels=torch.from_numpy(test.labels),
        classes=_source(name).classes,
        mean=mean,
        std=std,
    )


def _source(name: str) -> Source:
    if name not in SOURCES:
        hint = nearest(name, SOURCES) or f"; known: {', '.join(SOURCES)}"
        raise DataError(f"{name}: is not a data set{hint}")
    return SOURCES[name]


def _moments(images: Bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, for pixels from 0 to 1."""
    channels = images.shape[1]
    counts = np.zeros((channels, 256))
    for start in range(0, len(images), 1024):  # in parts: bincount takes 8 bytes a pixel
        for channel in range(channels):
            part = images[start : start + 1024, channel]
            counts[channel] += np.bincount(part.ravel(), minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    level = np.arange(256) / 255
    mean = share @ level
    std = np.sqrt((share * (level - mean[:, None]) ** 2).sum(axis=1))
    return tuple(mean.tolist()), tuple(np.maximum(std, 1 / 255).tolist())


def available(root: Path) -> dict[str, str | None]:
    """Return by data set None if its files exist, otherwise the fault as one line.

    Only the beginning of each file is read: later damage is not found.
    """
    problems: dict[str, str | None] = {}
    checks: dict[str, Callable[[Path], object]] = {n: s.check for n, s in SOURCES.items()}
    checks |= {name: source.layout for name, source in RECORDED.items()}
    for name, check in checks.items():
        try:
            check(root)
            problems[name] = None
        except DataError as error:
            problems[name] = str(error)
    return problems


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Training and validation inputs of a run, on one device.

    Images are uint8 (images, channels, height, width), or recordings as `Clips`; labels int64
    (images,); `mean` and `std` are float32 (channels, 1, 1), for `normalise`. `deviation` is
    that of the input where it is not normalised.
    """

    train_images: Samples
    train_labels: Tensor
    validation_images: Samples
    validation_labels: Tensor
    classes: int
    mean: Tensor
    std: Tensor
    deviation: float | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train_images.shape[-3:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits over every image and label of both parts: the name of the split."""
        digest = hashlib.sha256(str(self.classes).encode())
        for part in (
            self.train_images,
            self.train_labels,
            self.validation_images,
            self.validation_labels,
            self.mean,
            self.std,
        ):
            if isinstance(part, Clips):
                digest.update(part.fingerprint.encode())
                continue
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]


def split(
    dataset: Dataset | Recorded,
    *,
    validation_fraction: float,
    train_images: int,
    seed: int,
    device: torch.device | str,
    config: RunConfig | None = None,
) -> Split:
    """Return the training images in two class-stratified parts, training and validation.

    Recordings are cut as `config` says.

    The validation part depends only on the data set, `validation_fraction` and `seed`; of
    recordings in groups it is whole groups.
    `train_images` limits the training part (0: all of it); the images of a lower limit are
    among those of a higher one. Raises DataError if there are too few images.
    """
    train, validation = _parts(
        dataset, validation_fraction, train_images, seed, config.validation_group if config else ""
    )
    labels = dataset.train_labels
    parts: tuple[Samples, Samples]
    deviation = None
    if isinstance(dataset, Recorded):
        assert config is not None
        first, second = (
            clips_of(dataset.store, "train", chosen.numpy(), config, device)
            for chosen in (train, validation)
        )
        parts, deviation = (first, second), first.deviation
    else:
        images = dataset.train_images
        parts = (images[train].to(device), images[validation].to(device))
    return Split(
        train_images=parts[0],
        train_labels=labels[train].to(device),
        validation_images=parts[1],
        validation_labels=labels[validation].to(device),
        classes=dataset.classes,
        mean=torch.tensor(dataset.mean, device=device)[:, None, None],
        std=torch.tensor(dataset.std, device=device)[:, None, None],
        deviation=deviation,
    )


def _parts(
    dataset: Dataset | Recorded,
    validation_fraction: float,
    train_images: int,
    seed: int,
    group: str,
) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and the validation part, each ascending."""
    labels = dataset.train_labels.numpy()
    order = stratified_order(labels, np.random.default_rng((seed, 0)))
    validations = round(validation_fraction * len(labels))
    if isinstance(dataset, Recorded) and (group or RECORDINGS[dataset.name].is_grouped):
        is_held = _held(dataset.store, validations, group, seed)
        order = np.argsort(~is_held, kind="stable")
        validations = int(is_held.sum())
    rest = len(labels) - validations
    if validations == 0 or rest == 0:
        raise DataError(
            f"validation_fraction must leave both parts of the {len(labels)} training images of "
            f"{dataset.name} at least one image, got {validation_fraction}"
        )
    if train_images > rest:
        raise DataError(
            f"train_images must be at most {rest} ({dataset.name} has {len(labels)} training "
            f"images, {validations} of them for validation), got {train_images}; 0 uses all"
        )
    validation, train = np.sort(order[:validations]), np.sort(order[validations:])
    if train_images:
        again = stratified_order(labels[train], np.random.default_rng((seed, 1)))
        train = np.sort(train[again[:train_images]])
    return torch.from_numpy(train), torch.from_numpy(validation)


def _held(store: Store, wanted: int, group: str, seed: int) -> npt.NDArray[np.bool_]:
    """Return whether each training recording is of a group that validates.

    Random groups are added as long as they bring the validation part nearer to `wanted`.
    """
    groups = store.train.group
    present = np.unique(groups)
    if group:
        if group not in store.groups or store.groups.index(group) not in present:
            known = ", ".join(store.groups[place] for place in present if place >= 0) or "none"
            raise DataError(
                f"validation_group: {store.name} has no training recording of group {group!r}; "
                f"its groups: {known}"
            )
        held = groups == store.groups.index(group)
    else:
        held = np.zeros(len(groups), bool)
        for one in np.random.default_rng((seed, 0)).permutation(present):
            more = held | (groups == one)
            if not held.any() or abs(more.sum() - wanted) < abs(held.sum() - wanted):
                held = more
    if held.all():
        raise DataError(
            f"{store.name}: all training recordings are of one group, of which validation would "
            "see all; declare other groups"
        )
    return np.asarray(held)


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 pixels as float32 from 0 to 1."""
    return images.to(torch.float32) / 255


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return uint8 pixels as float32 with mean 0 and deviation 1 over the training images."""
    return (to_unit(images) - mean) / std
