"""Data sets, on files made here and, if present, on the real MNIST."""

import contextlib
import dataclasses
import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from snn.data import dataset as data
from snn.data.augmentation import augment
from snn.data.dataset import DataError, Dataset

IDX_FAMILY = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw"),
    "kmnist": ("kmnist", "KMNIST/raw"),
}
IDX_FILES = [
    f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]
REAL = Path(os.environ.get("SPIKEFRONT_DATA", Path(__file__).parents[4] / "shared" / "data"))
real_mnist = pytest.mark.skipif(
    data.available(REAL)["mnist"] is not None,
    reason="no MNIST files in mnist/ under the folder that SPIKEFRONT_DATA names",
)


def idx_images(images: np.ndarray, magic: int = 2051) -> bytes:
    return struct.pack(">IIII", magic, *images.shape) + images.tobytes()


def idx_labels(labels: np.ndarray, magic: int = 2049) -> bytes:
    return struct.pack(">II", magic, len(labels)) + labels.astype(np.uint8).tobytes()


def some_images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_idx(folder: Path, *, form: str = "raw") -> None:
    """60 training and 20 test images, labels 0 to 9 in turn; `form`: raw, gz, or raw as gz."""
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 20)):
        files = {
            "images-idx3": idx_images(some_images(count, 28, 28)),
            "labels-idx1": idx_labels(np.arange(count) % 10),
        }
        for kind, content in files.items():
            suffix = "" if form == "raw" else ".gz"
            content = gzip.compress(content) if form == "gz" else content
            (folder / f"{part}-{kind}-ubyte{suffix}").write_bytes(content)


def python2_pickle(value: object) -> bytes:
    """The bytes that Python 2 and its NumPy wrote, as in the published CIFAR files."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: object) -> bytes:
    match value:
        case str():
            return b"T" + struct.pack("<i", len(value)) + value.encode("latin1")
        case int():
            return b"J" + struct.pack("<i", value)
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(k) + _opcodes(v) for k, v in value.items()) + b"u"
        case np.ndarray():
            shape = _opcodes(value.shape[0]) + _opcodes(value.shape[1])
            return (
                b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
                b"(K\x01" + shape + b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
                b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
                + _opcodes(value.tobytes().decode("latin1"))
                + b"tb"
            )
    raise AssertionError(value)


def python3_pickle(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


Writer = Callable[[object], bytes]


def write_cifar10(root: Path, write: Writer = python2_pickle) -> Path:
    """20 images in each of the six batches."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = [i % 10 for i in range(20)]
        batch = {"batch_label": name, "labels": labels, "data": some_images(20, 3072)}
        (folder / name).write_bytes(write(batch))
    return folder


def write_cifar100(root: Path) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 200), ("test", 100)):
        fine, coarse = [i % 100 for i in range(count)], [i % 20 for i in range(count)]
        batch = {"data": some_images(count, 3072), "fine_labels": fine, "coarse_labels": coarse}
        (folder / name).write_bytes(python2_pickle(batch))
    return folder


def split_digits(
    *, fraction: float = 0.2, images: int = 0, seed: int = 0, dataset: Dataset | None = None
) -> data.Split:
    return data.split(
        dataset or data.load("digits", Path("nowhere")),
        validation_fraction=fraction,
        train_images=images,
        seed=seed,
        device="cpu",
    )


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


# ---- IDX


@pytest.mark.parametrize("form", ["raw", "gz", "raw as gz"])
@pytest.mark.parametrize("name", IDX_FAMILY)
@pytest.mark.parametrize("place", [0, 1], ids=["own folder", "torchvision's folder"])
def test_idx_files_return_the_images_that_were_written(
    tmp_path: Path, name: str, place: int, form: str
) -> None:
    write_idx(tmp_path / IDX_FAMILY[name][place], form=form)
    dataset = data.load(name, tmp_path)
    assert np.array_equal(dataset.train_images[:, 0].numpy(), some_images(60, 28, 28))
    assert np.array_equal(dataset.test_images[:, 0].numpy(), some_images(20, 28, 28))
    assert dataset.test_labels.tolist() == [i % 10 for i in range(20)]
    assert dataset.train_images.dtype == torch.uint8
    assert dataset.train_labels.dtype == torch.int64
    assert (dataset.image_shape, dataset.classes) == ((1, 28, 28), 10)


def test_a_missing_folder_names_the_file_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = (
        r"^data/mnist/train-images-idx3-ubyte: not found \(nor \.gz\); put the four MNIST files in "
        r"data/mnist, or point --data or SPIKEFRONT_DATA at the folder that contains mnist/$"
    )
    with pytest.raises(DataError, match=message):
        data.load("mnist", Path("data"))


@pytest.mark.parametrize("file", IDX_FILES)
def test_each_missing_idx_file_is_named(tmp_path: Path, file: str) -> None:
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{file}-ubyte").unlink()
    with pytest.raises(DataError, match=f"{file}-ubyte: not found"):
        data.load("mnist", tmp_path)
    assert f"{file}-ubyte: not found" in str(data.available(tmp_path)["mnist"])


def damaged_idx() -> dict[str, tuple[str, bytes, str]]:
    """Name of the damage -> the file, its content, the message."""
    images, labels = some_images(60, 28, 28), np.arange(60) % 10
    good, good_labels = idx_images(images), idx_labels(labels)
    return {
        "empty": ("train-images-idx3", b"", "magic 2051.*got an empty file"),
        "header cut": ("train-images-idx3", good[:9], "magic 2051.*got 9 bytes"),
        "truncated": ("train-images-idx3", good[:-5], r"60 images.*47056 bytes.*got 47051 bytes"),
        "too long": ("train-labels-idx1", good_labels + b"\0", "60 labels.*68 bytes.*got more"),
        "other kind": (
            "train-labels-idx1",
            good,
            "magic 2049.*got 2051; the file is not what its name says",
        ),
        "web page": ("train-images-idx3", b"<!DOCTYPE html>" * 9, "magic 2051.*got 1008813135"),
        "other size": (
            "t10k-images-idx3",
            idx_images(some_images(20, 14, 14)),
            "must contain nx28x28 images, got 20x14x14",
        ),
        "no images": (
            "t10k-images-idx3",
            idx_images(some_images(0, 28, 28)),
            "must contain nx28x28 images, got 0x28x28",
        ),
        "label 10": (
            "train-labels-idx1",
            idx_labels(labels + 1),
            "must contain labels from 0 to 9, got 10",
        ),
        "fewer labels": (
            "train-labels-idx1",
            idx_labels(labels[:50]),
            "one label for each of the 60 images, got 50",
        ),
        "gz cut": (
            "train-images-idx3",
            gzip.compress(good)[:-99],
            "readable file, got: Compressed",
        ),
        "gz damaged": (
            "train-labels-idx1",
            gzip.compress(good_labels)[:-8] + bytes(8),
            "must be a readable file, got: CRC check failed",
        ),
    }


def test_a_folder_in_place_of_a_file_is_a_data_error(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte"
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="must be a readable file, got: Is a directory"):
        data.load("mnist", tmp_path)


# ---- CIFAR


@pytest.mark.parametrize("write", [python2_pickle, python3_pickle])
def test_cifar10_batches_return_the_images_that_were_written(tmp_path: Path, write: Writer) -> None:
    write_cifar10(tmp_path, write)
    dataset = data.load("cifar10", tmp_path)
    planes = some_images(20, 3072).reshape(20, 3, 32, 32)
    assert np.array_equal(dataset.test_images.numpy(), planes)
    assert np.array_equal(dataset.train_images.numpy(), np.concatenate([planes] * 5))
    assert dataset.train_labels.tolist() == [i % 10 for i in range(20)] * 5
    assert (dataset.image_shape, dataset.classes) == ((3, 32, 32), 10)


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    dataset = data.load("cifar100", tmp_path)
    assert dataset.train_labels.tolist() == [i % 100 for i in range(200)]
    assert (dataset.classes, len(dataset.test_images)) == (100, 100)


@pytest.mark.parametrize(("name", "file"), [("cifar10", "data_batch_4"), ("cifar100", "test")])
def test_a_missing_cifar_file_is_named(tmp_path: Path, name: str, file: str) -> None:
    write_cifar10(tmp_path)
    folder = write_cifar100(tmp_path) if name == "cifar100" else tmp_path / "cifar-10-batches-py"
    (folder / file).unlink()
    with pytest.raises(DataError, match=f"{file}: not found; unpack the python version of CIFAR-"):
        data.load(name, tmp_path)
    assert f"{file}: not found" in str(data.available(tmp_path)[name])


class Hostile:
    """Unpickled by an ordinary unpickler, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(tmp_path: Path, protocol: int) -> None:
    folder = write_cifar10(tmp_path)
    trap = tmp_path / "trap"
    batch = {"data": Hostile(trap), "labels": []}
    content = pickle.dumps(batch, protocol=protocol)
    (folder / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_2: must be a batch .*would call \w+\.mkdir"):
        data.load("cifar10", tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02cnumpy\nload\nU\x04evil\x85R.",
        b"\x80\x02cnumpy.core.multiarray\nfromfile\nU\x04evil\x85R.",
        b"\x80\x02cbuiltins\neval\nU\x011\x85R.",
        b"\x80\x02c__builtin__\ngetattr\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    ],
)
def test_names_beyond_array_reconstruction_are_refused(tmp_path: Path, payload: bytes) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "test_batch").write_bytes(payload)
    with pytest.raises(DataError, match=r"test_batch: must be a batch .*it would call "):
        data.load("cifar10", tmp_path)


def damaged_cifar() -> dict[str, tuple[bytes, str]]:
    images, labels = some_images(20, 3072), [i % 10 for i in range(20)]
    good = {"data": images, "labels": labels}
    return {
        "empty": (b"", ".*got an empty file"),
        "truncated": (python2_pickle(good)[:5000], ".*got a damaged or foreign file"),
        "web page": (b"<!DOCTYPE html>", ".*got a damaged or foreign file"),
        "a list": (python2_pickle([1, 2]), ".*got a pickled list"),
        "no data": (python2_pickle({"labels": labels}), ".*got 'data' with NoneType"),
        "grey images": (
            python2_pickle(good | {"data": some_images(20, 1024)}),
            r".*got 'data' with shape \(20, 1024\)",
        ),
        "no images": (python2_pickle({"data": images[:0], "labels": []}), ".*got no images"),
        "floats": (
            python3_pickle(good | {"data": images.astype(np.float32)}),
            ".*an array of 'f4' instead of bytes",
        ),
        "objects": (
            python3_pickle(good | {"data": np.array([[None]])}),
            ".*an array of 'O8' instead of bytes",
        ),
        "no labels": (python2_pickle({"data": images}), ".*no list of integers under 'labels'"),
        "label 10": (
            python2_pickle(good | {"labels": [i % 11 for i in range(20)]}),
            "must contain labels from 0 to 9, got 10",
        ),
        "endless label": (
            python3_pickle(good | {"labels": [1 << 80] * 20}),
            "must contain labels from 0 to 9, got 1208925819614629174706176",
        ),
        "fewer labels": (
            python2_pickle(good | {"labels": labels[:9]}),
            ".*one label for each of the 20 images, got 9",
        ),
    }


@pytest.mark.parametrize(
    ("dataset", "fault"),
    [
        *(("mnist", name) for name in damaged_idx()),
        *(("cifar10", name) for name in damaged_cifar()),
    ],
)
def test_a_damaged_file_is_one_line_with_its_name_and_its_fault(
    tmp_path: Path, dataset: str, fault: str
) -> None:
    if dataset == "mnist":
        file, content, message = damaged_idx()[fault]
        file, message = f"{file}-ubyte", f".*{message}"
        write_idx(tmp_path / "mnist")
        path = tmp_path / "mnist" / file
    else:
        file = "data_batch_3"
        content, message = damaged_cifar()[fault]
        path = write_cifar10(tmp_path) / file
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{file}: {message}") as error:
        data.load(dataset, tmp_path)
    assert "\n" not in str(error.value)


def test_a_cifar_batch_with_changed_bytes_loads_or_is_a_data_error(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    good = (folder / "test_batch").read_bytes()
    header = good.index(b"tb\x89") + 8  # of the array: where a changed byte can do harm
    generator = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(good)
        for place in generator.integers(0, header, 2):
            content[place] = generator.integers(0, 256)
        (folder / "test_batch").write_bytes(content)
        data._load.cache_clear()
        with contextlib.suppress(DataError):
            assert data.load("cifar10", tmp_path).classes == 10


# ---- data sets


def test_digits_are_the_1797_of_scikit_learn_scaled_to_bytes_with_a_fifth_as_test_set() -> None:
    dataset = data.load("digits", Path("nowhere"))
    assert dataset.image_shape == (1, 8, 8)
    assert len(dataset.train_images) + len(dataset.test_images) == 1797
    assert len(dataset.test_images) == round(0.2 * 1797)
    assert sorted(dataset.train_images.unique().tolist()) == [
        0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255,
    ]  # fmt: skip
    shares = dataset.test_labels.bincount() / dataset.train_labels.bincount()
    assert shares.min() > 0.23
    assert shares.max() < 0.27
    assert dataset.fingerprint == "390b1b06acd962e6", "the same split in every release"


def test_an_unknown_data_set_names_the_nearest_known_one() -> None:
    with pytest.raises(DataError, match="fashion_mnist: is not a data set; did you mean 'fashion-"):
        data.load("fashion_mnist", Path("nowhere"))


def test_mean_and_std_are_those_of_the_training_images(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    dataset = data.load("cifar10", tmp_path)
    unit = dataset.train_images.double() / 255
    assert dataset.mean == pytest.approx(unit.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert dataset.std == pytest.approx(unit.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_a_constant_channel_does_not_divide_by_zero(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist")
    black = idx_images(np.zeros((60, 28, 28), np.uint8))
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(black)
    dataset = data.load("mnist", tmp_path)
    assert dataset is data.load("mnist", tmp_path), "a second load reads nothing"
    parts = split_digits(dataset=dataset)
    assert not data.normalise(parts.train_images, parts.mean, parts.std).any()


def test_the_fingerprint_changes_with_a_single_pixel_or_label(tmp_path: Path) -> None:
    fingerprints = set()
    for change in ("nothing", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        write_idx(tmp_path / change / "mnist")
        if change != "nothing":
            path = tmp_path / change / "mnist" / change
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
        fingerprints.add(data.load("mnist", tmp_path / change).fingerprint)
    assert len(fingerprints) == 3


def test_a_split_is_named_by_everything_that_it_holds() -> None:
    made = split_digits()
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        if value is None:  # `deviation`, which follows from recordings
            continue
        changed = dataclasses.replace(made, **{field.name: value + 1})
        assert changed.fingerprint != made.fingerprint, field.name


def test_available_finds_the_fault_of_every_data_set(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", form="gz")
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_1").write_bytes(b"<!DOCTYPE html>")
    problems = data.available(tmp_path)
    assert problems["digits"] is None
    assert problems["mnist"] is None
    assert "kmnist/train-images-idx3-ubyte: not found" in str(problems["kmnist"])
    assert "data_batch_1: must be a batch" in str(problems["cifar10"])
    assert "cifar-100-python/train: not found" in str(problems["cifar100"])


# ---- splits


def test_a_split_puts_each_training_image_into_exactly_one_part() -> None:
    dataset = data.load("digits", Path("nowhere"))
    parts = split_digits()
    train, validation = rows(parts.train_images), rows(parts.validation_images)
    assert train | validation == rows(dataset.train_images)
    assert not train & validation
    assert len(parts.validation_images) == round(0.2 * len(dataset.train_images))


def test_both_parts_and_a_limited_training_part_are_stratified() -> None:
    share = data.load("digits", Path("nowhere")).train_labels.bincount(minlength=10) / 1438
    parts = split_digits(images=200)
    for labels in (parts.train_labels, parts.validation_labels):
        expected = share * len(labels)
        assert (labels.bincount(minlength=10) - expected).abs().max() <= 1.5


def test_fewer_training_images_are_among_more_and_change_no_validation_image() -> None:
    small, large, everything = (split_digits(images=images) for images in (100, 400, 0))
    assert len(small.train_images) == 100
    assert rows(small.train_images) < rows(large.train_images)
    assert torch.equal(everything.validation_images, small.validation_images)


def test_the_seed_decides_the_split() -> None:
    same, again, other = split_digits(seed=1), split_digits(seed=1), split_digits(seed=2)
    assert torch.equal(same.validation_images, again.validation_images)
    assert torch.equal(same.train_labels, again.train_labels)
    assert not torch.equal(same.validation_images, other.validation_images)


def test_more_training_images_than_there_are_is_a_data_error() -> None:
    message = r"^train_images must be at most 1150 \(digits has 1438 .* 288 .*\), got 1151; 0 uses"
    assert len(split_digits(images=1150).train_images) == 1150
    with pytest.raises(DataError, match=message):
        split_digits(images=1151)


@pytest.mark.parametrize("fraction", [1e-5, 0.9999])
def test_a_fraction_that_leaves_a_part_empty_is_a_data_error(fraction: float) -> None:
    with pytest.raises(DataError, match="validation_fraction must leave both parts of the"):
        split_digits(fraction=fraction)


# ---- pixels


def test_normalised_training_images_have_mean_zero_and_deviation_one() -> None:
    dataset = data.load("digits", Path("nowhere"))
    parts = split_digits()
    values = data.normalise(dataset.train_images, parts.mean, parts.std)
    assert values.dtype == torch.float32
    assert float(values.mean()) == pytest.approx(0, abs=1e-5)
    assert float(values.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_unit_images_run_from_0_to_1() -> None:
    assert data.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [0, 0.2, 1]
    )


def augmented(images: torch.Tensor, kind: str, seed: int = 0) -> torch.Tensor:
    return augment(images, kind, torch.Generator().manual_seed(seed))


def test_no_augmentation_changes_neither_batch_nor_generator() -> None:
    images = torch.from_numpy(some_images(4, 1, 8, 8))
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert augment(images, "none", generator) is images
    assert torch.equal(generator.get_state(), before)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match="must be none, shift or crop-flip, got 'rotate'"):
        augmented(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "rotate")


@pytest.mark.parametrize("kind", ["shift", "crop-flip"])
def test_augmentation_is_the_same_for_a_seed_and_differs_between_images_and_seeds(
    kind: str,
) -> None:
    images = torch.from_numpy(some_images(1, 3, 32, 32)).expand(64, -1, -1, -1)
    out = augmented(images, kind)
    assert torch.equal(out, augmented(images, kind))
    assert not torch.equal(out, augmented(images, kind, seed=1))
    assert len(rows(out)) > 30
    assert (out.shape, out.dtype, out.is_contiguous()) == (images.shape, torch.uint8, True)


def moves(image: torch.Tensor, reach: int, *, mirrored: bool) -> dict[bytes, tuple[int, int]]:
    """Every image that a translation (and mirroring) can make, by its own bytes."""
    side = image.shape[-1]
    padded = torch.nn.functional.pad(image, (reach,) * 4)
    made = {}
    for y in range(2 * reach + 1):
        for x in range(2 * reach + 1):
            crop = padded[:, y : y + side, x : x + side]
            for sign, version in ((1, crop), (-1, crop.flip(-1)))[: 1 + mirrored]:
                made[version.numpy().tobytes()] = (y, sign * (x + 1))
    return made


@pytest.mark.parametrize(
    ("kind", "side", "reach"), [("shift", 8, 1), ("shift", 28, 3), ("crop-flip", 32, 4)]
)
def test_augmentation_makes_every_translation_in_reach_about_equally_often_and_no_other(
    kind: str, side: int, reach: int
) -> None:
    image = torch.from_numpy(some_images(1, 2, side, side))
    possible = moves(image[0], reach, mirrored=kind == "crop-flip")
    repeats = 60
    out = augmented(image.expand(repeats * len(possible), -1, -1, -1), kind)
    drawn = [possible[made.numpy().tobytes()] for made in out]
    counts = np.array([drawn.count(move) for move in possible.values()])
    # binomial with mean 60: deviation below 7.8; 5.5 of them over at most 162 cells
    assert abs(counts - repeats).max() < 5.5 * 7.8


# ---- the real files


@real_mnist
def test_the_real_mnist_has_its_known_size_mean_and_classes() -> None:
    dataset = data.load("mnist", REAL)
    assert (len(dataset.train_images), len(dataset.test_images)) == (60_000, 10_000)
    assert dataset.mean == pytest.approx([0.1307], abs=5e-5)
    assert dataset.std == pytest.approx([0.3081], abs=5e-5)
    assert dataset.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert dataset.fingerprint == "35914650c8beaeed"


@real_mnist
def test_a_thousand_images_of_the_real_mnist_are_stratified() -> None:
    dataset = data.load("mnist", REAL)
    parts = split_digits(dataset=dataset, fraction=1 / 6, images=1000)
    expected = dataset.train_labels.bincount() / 60
    assert (parts.train_labels.bincount() - expected).abs().max() <= 1.5
    assert len(parts.validation_images) == 10_000
