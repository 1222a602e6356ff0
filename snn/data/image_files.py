"""Readers of image data sets: IDX files, CIFAR's pickles, scikit-learn's digits, extensions.

Nothing is downloaded, and nothing in a file is trusted. Each fault is a DataError of one
line: the file, what it must be, what it is, what to do.
"""

import functools
import gzip
import importlib.util
import io
import itertools
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Never, Protocol

import numpy as np
import numpy.typing as npt

from snn.data.pickles import PICKLE_ERRORS, ArrayUnpickler, PickledArray
from snn.settings import extensions
from snn.settings.datasets import DATASETS

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class DataError(ValueError):
    """Missing or invalid data; the message is one line with a remedy."""


class MissingDataError(DataError):
    """Files that are not on this machine; they may be on another one."""


class Part(NamedTuple):
    """The training or the test part of a data set."""

    images: Bytes  # images channels height width
    labels: Labels  # images


class Source(Protocol):
    """Reader of the files of one data set under a root folder."""

    @property
    def classes(self) -> int:
        """Number of classes; labels are from 0 to `classes` - 1."""

    def check(self, root: Path) -> None:
        """Raise DataError unless every file is there and begins as it must; reads no more."""

    def read(self, root: Path) -> tuple[Part, Part]:
        """Return the training and the test part. Raises DataError."""


# ---- IDX: MNIST and the data sets with its format


@dataclass(frozen=True, kw_only=True)
class IdxSource:
    """Four IDX files, gzipped or not, in the first of `folders` that contains one of them."""

    folders: tuple[str, ...]
    title: str
    classes: int = 10

    def check(self, root: Path) -> None:
        for part in ("train", "t10k"):
            for kind in (_IMAGES, _LABELS):
                path = self._file(root, part, kind)
                _idx_shape(path, kind, _contents(path, kind.header_bytes))

    def files(self, root: Path) -> tuple[Path, ...]:
        """Return the four files."""
        kinds = itertools.product(("train", "t10k"), (_IMAGES, _LABELS))
        return tuple(self._file(root, part, kind) for part, kind in kinds)

    def read(self, root: Path) -> tuple[Part, Part]:
        return self._part(root, "train"), self._part(root, "t10k")

    def _part(self, root: Path, part: str) -> Part:
        images = _read_idx(self._file(root, part, _IMAGES), _IMAGES)
        path = self._file(root, part, _LABELS)
        labels = _checked_labels(path, _read_idx(path, _LABELS), len(images), self.classes)
        return Part(images[:, None], labels)

    def _file(self, root: Path, part: str, kind: "_IdxKind") -> Path:
        names = [f"{p}-{k.suffix}" for p in ("train", "t10k") for k in (_IMAGES, _LABELS)]
        folders = [root / folder for folder in self.folders]
        present = (f for f in folders if any(_either(f / name) for name in names))
        path = next(present, folders[0]) / f"{part}-{kind.suffix}"
        found = _either(path)
        if found is None:
            raise MissingDataError(
                f"{path}: not found (nor .gz); put the four {self.title} files in {path.parent}, "
                "or point --data or SPIKEFRONT_DATA at the folder that contains "
                f"{self.folders[0]}/"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class _IdxKind:
    suffix: str
    magic: int
    meaning: str
    item_shape: tuple[int, ...]

    @property
    def header_bytes(self) -> int:
        return 4 * (2 + len(self.item_shape))


_IMAGES = _IdxKind(suffix="images-idx3-ubyte", magic=2051, meaning="images", item_shape=(28, 28))
_LABELS = _IdxKind(suffix="labels-idx1-ubyte", magic=2049, meaning="labels", item_shape=())


def _either(path: Path) -> Path | None:
    zipped = path.with_name(path.name + ".gz")
    return path if path.exists() else zipped if zipped.exists() else None


def _read_idx(path: Path, kind: _IdxKind) -> Bytes:
    shape = _idx_shape(path, kind, _contents(path, kind.header_bytes))
    expected = kind.header_bytes + math.prod(shape)
    content = _contents(path, expected + 1)
    if len(content) != expected:
        raise DataError(
            f"{path}: must contain the {shape[0]} {kind.meaning} that its header announces "
            f"({expected} bytes unzipped), got "
            f"{'more' if len(content) > expected else f'{len(content)} bytes'}; "
            "download the file again"
        )
    return np.frombuffer(content, np.uint8, offset=kind.header_bytes).reshape(shape).copy()


def _idx_shape(path: Path, kind: _IdxKind, content: bytes) -> tuple[int, ...]:
    """Return the shape in the header. Raises DataError."""
    must = f"{path}: must begin with the IDX header of {kind.meaning} (magic {kind.magic})"
    if len(content) < kind.header_bytes:
        got = f"{len(content)} bytes" if content else "an empty file"
        raise DataError(f"{must}, got {got}; download the file again")
    magic, count, *item_shape = np.frombuffer(content[: kind.header_bytes], ">u4").tolist()
    if magic != kind.magic:
        raise DataError(f"{must}, got {magic}; the file is not what its name says")
    if tuple(item_shape) != kind.item_shape or count == 0:
        want = "x".join(map(str, ("n", *kind.item_shape)))
        got = "x".join(map(str, (count, *item_shape)))
        raise DataError(f"{path}: must contain {want} {kind.meaning}, got {got}; download it again")
    return (count, *item_shape)


_PART_BYTES = 2**24  # that are read at a time


def _contents(path: Path, limit: int = -1) -> bytes:
    """Return the first `limit` bytes (-1: all), unzipped if the content is gzip."""
    try:
        with path.open("rb") as file:
            is_zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            opened = gzip.GzipFile(fileobj=file) if is_zipped else file
            if limit < 0:
                return opened.read()
            # In parts: a header may announce more than any memory holds.
            parts, left = [], limit
            while left and (part := opened.read(min(left, _PART_BYTES))):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory; download the file again") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        message = f"{path}: must be a readable file, got: {reason}; download the file again"
        raise DataError(message) from error


def _checked_labels(path: Path, labels: npt.NDArray[Any], images: int, classes: int) -> Labels:
    if len(labels) != images:
        raise DataError(
            f"{path}: must contain one label for each of the {images} images, got {len(labels)}; "
            "download both files again"
        )
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise DataError(
            f"{path}: must contain labels from 0 to {classes - 1}, got {outside[0]}; "
            "download the file again"
        )
    return labels.astype(np.int64)


# ---- CIFAR: pickles of Python 2


@dataclass(frozen=True, kw_only=True)
class CifarSource:
    """The python version of CIFAR: pickled batches of 32x32 colour images in one folder."""

    folder: str
    title: str
    train: tuple[str, ...]
    test: str
    label_key: str
    classes: int

    def check(self, root: Path) -> None:
        for name in (*self.train, self.test):
            start = _contents(self._file(root, name), 1)
            if start not in (b"\x80", b"(", b"}"):  # how a pickled dictionary begins
                self._refuse(root / self.folder / name, _shown(start))

    def read(self, root: Path) -> tuple[Part, Part]:
        batches = [self._batch(self._file(root, name)) for name in self.train]
        images = np.concatenate([batch.images for batch in batches])
        labels = np.concatenate([batch.labels for batch in batches])
        return Part(images, labels), self._batch(self._file(root, self.test))

    def _file(self, root: Path, name: str) -> Path:
        path = root / self.folder / name
        if not path.exists():
            raise MissingDataError(
                f"{path}: not found; unpack the python version of {self.title} in {root}, or "
                f"point --data or SPIKEFRONT_DATA at the folder that contains {self.folder}/"
            )
        return path

    def _batch(self, path: Path) -> Part:
        batch = self._unpickled(path)
        data = batch.get("data")
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3072:
            got = f"shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
            self._refuse(path, f"'data' with {got} instead of bytes of shape (n, 3072)")
        if len(data) == 0:
            self._refuse(path, "no images")
        labels = batch.get(self.label_key)
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            self._refuse(path, f"no list of integers under {self.label_key!r}")
        checked = _checked_labels(path, np.asarray(labels, object), len(data), self.classes)
        return Part(data.reshape(-1, 3, 32, 32), checked)

    def _unpickled(self, path: Path) -> dict[object, object]:
        content = _contents(path)
        try:
            batch = ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
            if isinstance(batch, dict):
                return {
                    k: v.array("u1", "an array of {} instead of bytes")
                    if isinstance(v, PickledArray)
                    else v
                    for k, v in batch.items()
                }
        except PICKLE_ERRORS as error:
            self._refuse(path, f"{_shown(content)} ({error})")
        self._refuse(path, f"a pickled {type(batch).__name__}")

    def _refuse(self, path: Path, got: str) -> Never:
        raise DataError(
            f"{path}: must be a batch of the python version of {self.title}, got {got}; "
            "unpack the archive again"
        )


def _shown(content: bytes) -> str:
    return "a damaged or foreign file" if content else "an empty file"


# ---- digits: part of scikit-learn


@dataclass(frozen=True, kw_only=True)
class DigitsSource:
    """The 1,797 handwritten digits of 8x8 pixels in scikit-learn.

    They have no test part of their own: it is a fifth of each class, always the same images.
    """

    classes: int = 10

    def check(self, root: Path) -> None:
        if importlib.util.find_spec("sklearn") is None:
            raise DataError(
                "digits: they come with scikit-learn, which is not installed; "
                "pip install 'spikefront[search]'"
            )

    def read(self, root: Path) -> tuple[Part, Part]:
        self.check(root)
        table = _digits_table()
        images = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
        labels = table[:, -1].astype(np.int64)
        order = stratified_order(labels, np.random.default_rng(0))
        tests = round(0.2 * len(labels))
        test, train = np.sort(order[:tests]), np.sort(order[tests:])
        return Part(images[train], labels[train]), Part(images[test], labels[test])


def _digits_table() -> npt.NDArray[np.float64]:
    """Return the digits, a row each: 64 pixels from 0 to 16, and the label."""
    sklearn = importlib.util.find_spec("sklearn")
    places = (sklearn and sklearn.submodule_search_locations) or ()
    for place in places:
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():  # a tenth of the time that importing scikit-learn takes
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])


def stratified_order(labels: Labels, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return a random order of the indices; its first n are class-stratified, for every n.

    Samples of two sizes are therefore nested.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((labels, place))


# ---- all data sets

SOURCES: dict[str, Source] = {
    "digits": DigitsSource(),
    "mnist": IdxSource(folders=("mnist", "MNIST/raw"), title="MNIST"),
    "fashion-mnist": IdxSource(
        folders=("fashion-mnist", "FashionMNIST/raw"), title="Fashion-MNIST"
    ),
    "kmnist": IdxSource(folders=("kmnist", "KMNIST/raw"), title="KMNIST"),
    "cifar10": CifarSource(
        folder="cifar-10-batches-py",
        title="CIFAR-10",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        label_key="labels",
        classes=10,
    ),
    "cifar100": CifarSource(
        folder="cifar-100-python",
        title="CIFAR-100",
        train=("train",),
        test="test",
        label_key="fine_labels",
        classes=100,
    ),
}


# ---- data sets of extensions


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnSource:
    """A data set that an extension's function reads; its result is checked."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    reader: extensions.Read

    def check(self, root: Path) -> None:
        self.read(root)

    def read(self, root: Path) -> tuple[Part, Part]:
        return _own(self, root)

    def part(self, images: Any, labels: Any, part: str) -> Part:
        """Return one part, checked. Raises DataError."""
        images, labels = (
            self._array(images, f"{part} images"),
            self._array(labels, f"{part} labels"),
        )
        if images.dtype != np.uint8 or images.shape[1:] != self.shape or len(images) == 0:
            shape = ", ".join(map(str, self.shape))
            got = f"{images.dtype} of shape {images.shape}"
            self.refuse(f"{part} images must be uint8 of shape (images, {shape}), got {got}")
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            got = f"{labels.dtype} of shape {labels.shape}"
            self.refuse(f"{part} labels must be {len(images)} integers, got {got}")
        if labels.min() < 0 or labels.max() >= self.classes:
            got = f"{labels.min()} to {labels.max()}"
            self.refuse(f"{part} labels must be from 0 to {self.classes - 1}, got {got}")
        return Part(np.ascontiguousarray(images), labels.astype(np.int64))

    def _array(self, values: Any, name: str) -> npt.NDArray[Any]:
        try:
            return np.asarray(values)
        except Exception as error:  # numpy converts foreign objects, which may raise anything
            self.refuse(f"{name} must be a numpy array, got {extensions.described(error)}")

    def refuse(self, fault: str) -> Never:
        """Raise the DataError of a wrong result of the extension's function."""
        raise DataError(f"{self.name}: {fault}; correct `read` in the extension")


@functools.lru_cache(maxsize=2)
def _own(source: OwnSource, root: Path) -> tuple[Part, Part]:
    try:
        result: Any = source.reader(root)
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        reason = extensions.described(error)
        kind = MissingDataError if isinstance(error, FileNotFoundError) else DataError
        raise kind(f"{source.name}: cannot be read from {root}: {reason}") from error
    try:
        (train_images, train_labels), (test_images, test_labels) = result
    except (TypeError, ValueError):
        source.refuse(f"`read` must return (images, labels), (images, labels), got {_form(result)}")
    train = source.part(train_images, train_labels, "training")
    return train, source.part(test_images, test_labels, "test")


def _form(value: object, depth: int = 2) -> str:
    """Return the nested types of a value, like `tuple of 1 (ndarray)`."""
    if not depth or not isinstance(value, tuple | list):
        return "None" if value is None else type(value).__name__
    parts = ", ".join(_form(part, depth - 1) for part in value[:4])
    return f"{type(value).__name__} of {len(value)} ({parts}{', ...' if len(value) > 4 else ''})"


extensions.load()
SOURCES |= {
    name: OwnSource(name=name, shape=DATASETS[name][0], classes=DATASETS[name][1], reader=reader)
    for name, reader in extensions.READERS.items()
}


# ---- suspicious data

ONE_CLASS = 0.95
"""Fraction of the training images from which one class is reported as too frequent."""


def suspicions(name: str, train: Part, test: Part, classes: int) -> list[str]:
    """Return one line for each property of a valid data set that is probably a mistake."""
    found = []
    for part, labels in (("training", train.labels), ("test", test.labels)):
        absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist()
        if absent:
            listed = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
            plural = "es" if len(absent) > 1 else ""
            found.append(f"{name}: no {part} image has class{plural} {listed} of {classes}")
    counts = np.bincount(train.labels)
    fraction = counts.max() / counts.sum()
    if fraction >= ONE_CLASS:
        found.append(
            f"{name}: {100 * fraction:.1f} % of the training images have class {counts.argmax()}; "
            "a network that always predicts it has this accuracy"
        )
    if train.images.max() == train.images.min():
        found.append(f"{name}: every pixel of the training images is {train.images.max()}")
    elif train.images.max() == 1:
        found.append(
            f"{name}: the training images have only pixels 0 and 1 of 0 to 255; "
            "multiply them by 255"
        )
    return found
