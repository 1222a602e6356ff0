"""Data sets by name and own folders: layouts as they lie on disks, and what is wrong in them."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snn.data.events import report, sound
from snn.data.events.own import OwnFolder, OwnSequence
from snn.data.events.sources import NAMED, ByFolder, Gesture
from snn.data.events.store import Store, open_store
from snn.data.image_files import DataError
from snn.settings import extensions, own_recordings
from snn.settings.datasets import DATASETS, RECORDINGS
from tests.snn.data.events.writers import Table, aedat31, five_bytes, structured

SPEECH = Path(__file__).parents[5] / "shared" / "data" / "speech" / "speech.npz"


def table(seed: int, *, high: int = 34, step: int = 3000) -> Table:
    """Forty events within 120 ms, in the order of time."""
    draws = np.random.default_rng(seed)
    rows = [np.sort(draws.integers(0, 40 * step, 40)), *draws.integers(0, high, (2, 40))]
    return np.stack([*rows, draws.integers(0, 2, 40)], axis=1)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def stored(source: Any, root: Path) -> Store:
    return open_store(source.layout(root), root / "cache")


def test_n_mnist_is_read_in_its_layout_and_the_order_of_numbers(tmp_path: Path) -> None:
    for part, seed in (("Train", 0), ("Test", 1000)):
        for digit in range(10):
            for index in (10, 2):
                content = five_bytes(table(seed + 10 * index + digit))
                write(tmp_path / f"N-MNIST/{part}/{digit}/{index}.bin", content)
    found = stored(NAMED["n-mnist"], tmp_path)
    assert found.train.label.tolist() == sorted([*range(10), *range(10)])
    first = table(20)  # 2.bin of digit 0 comes before 10.bin
    assert np.array_equal(found.train.time[:40], first[:, 0])  # not moved: the clock starts at 0


def test_cifar10_dvs_is_read_from_files_that_were_converted(tmp_path: Path) -> None:
    """In the folders of Tonic: AEDAT 4 files, cifar10_<class>_<number>."""
    for label in range(10):
        for index in range(5):
            name = f"CIFAR10DVS/class{label}/cifar10_class{label}_{index}.aedat4"
            write(tmp_path / name, b"#!AER-DAT4.0\r\n")
    train, test = NAMED["cifar10-dvs"].layout(tmp_path).parts()
    assert [Path(item.where).stem for item in test] == [f"cifar10_class{n}_4" for n in range(10)]
    assert [item.label for item in train] == sorted([*range(10)] * 4)


def test_a_set_without_a_split_gives_every_fifth_recording_to_the_test(tmp_path: Path) -> None:
    source = NAMED["cifar10-dvs"]
    assert isinstance(source, ByFolder)
    for label in range(10):
        for index in range(10):
            content = aedat31(table(100 * label + index))
            write(tmp_path / f"CIFAR10DVS/class{label}/cifar10_{index}.aedat", content)
    found = stored(source, tmp_path)
    assert (len(found.train), len(found.test)) == (80, 20)
    names = [Path(item.where).stem for item in source.layout(tmp_path).parts()[1]]
    assert set(names) == {"cifar10_4", "cifar10_9"}


def test_gestures_are_read_from_trials_and_from_npy_files_of_milliseconds(tmp_path: Path) -> None:
    for part in ("train", "test"):
        name = f"user_{part}"
        write(tmp_path / f"DvsGesture/{name}.aedat", aedat31(table(part == "train", high=128)))
        rows = "class,startTime_usec,endTime_usec\n1,0,60000\n11,60000,120000\n"
        write(tmp_path / f"DvsGesture/{name}_labels.csv", rows.encode())
        write(tmp_path / f"DvsGesture/trials_to_{part}.txt", f"{name}.aedat\n".encode())
    found = stored(Gesture(), tmp_path)
    assert found.train.label.tolist() == [0, 10]
    assert found.train.start[-1] == 40
    for part in ("Train", "Test"):
        folder = tmp_path / f"tonic/DVSGesture/ibmGesture{part}/user01"
        folder.mkdir(parents=True)
        for label in (0, 3):
            values = table(label + len(part), high=128)[:, [1, 2, 3, 0]] // np.array(
                [1, 1, 1, 1000]
            )
            np.save(folder / f"{label}.npy", values)
    found = stored(Gesture(), tmp_path / "tonic")
    assert found.train.label.tolist() == [0, 3]
    assert found.train.time[39] % 1000 == 0
    assert found.train.time[39] > 1000


def write_spoken(path: Path, *, first: int) -> None:
    """Write a file in the layout of SHD: recordings of labels 3 and 19."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file["labels"] = np.array([3, 19], np.uint16)
        file["extra/speaker"] = np.array([4, 11], np.uint16)
        for name, kind, values in (
            ("spikes/times", np.float16, ([0.25, 1.2], [0.5])),
            ("spikes/units", np.uint16, ([first, 0], [1049 - first])),
        ):
            data = file.create_dataset(name, (2,), dtype=h5py.vlen_dtype(kind))
            for place, row in enumerate(values):
                data[place] = np.array(row, kind)


def test_shd_is_read_from_half_precision_seconds(tmp_path: Path) -> None:
    for part, first in (("train", 699), ("test", 698)):
        write_spoken(tmp_path / f"SHD/shd_{part}.h5", first=first)
    found = stored(NAMED["shd"], tmp_path)
    assert found.train.place.tolist() == [699, 0, 350]
    assert found.train.time.tolist() == [250_000, int(float(np.float16(1.2)) * 1e6 + 0.5), 500_000]
    assert (found.groups, found.train.group.tolist()) == (("4", "11"), [0, 1])


CLASSES = f"classes = {[f'word {n}' for n in range(20)]}\n"
SPOKEN = f'{CLASSES}size = [1, 700, 1]\nclip_ms = 1300\nstart = "zero"\ntime_unit = "s"\n'


def test_own_recordings_may_lie_in_two_files_as_those_of_shd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "mine", ((1, 700, 1), 20))
    for part, first in (("train", 699), ("test", 698)):
        write_spoken(tmp_path / f"{part}.h5", first=first)
    found = stored(own(tmp_path, SPOKEN), tmp_path)
    assert (found.classes[3], found.train.label.tolist()) == ("word 3", [3, 19])
    assert (found.train.place.tolist(), found.test.place.tolist()) == ([699, 0, 350], [698, 0, 351])
    for text, message in (
        (SPOKEN.replace(CLASSES, ""), "needs classes, the names of the labels in train.h5 and"),
        (SPOKEN.replace("700, 1]", "70, 10]"), r"size must be \[1, units, 1\] with train.h5"),
        (SPOKEN.replace('time_unit = "s"', ""), 'time_unit must be "s" with train.h5'),
        (f"{SPOKEN}on = 0", "on has no meaning with train.h5 and test.h5; remove it"),
    ):
        with pytest.raises(own_recordings.DeclarationError, match=message):
            own(tmp_path, text)
    few = SPOKEN.replace(CLASSES, "classes = ['a', 'b']\n")
    with pytest.raises(DataError, match=r"train.h5: labels must be from 0 to 1, got 19"):
        own(tmp_path, few).layout(tmp_path).parts()


def test_ssc_is_trained_on_its_validation_part_too(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    (tmp_path / "SSC").mkdir()
    for place, part in enumerate(("train", "valid", "test")):
        with h5py.File(tmp_path / f"SSC/ssc_{part}.h5", "w") as file:
            file["labels"] = np.array([34 - place], np.uint16)
            for name, kind, value in (("times", np.float16, 0.5), ("units", np.uint16, place)):
                data = file.create_dataset(f"spikes/{name}", (1,), dtype=h5py.vlen_dtype(kind))
                data[0] = np.array([value], kind)
    found = stored(NAMED["ssc"], tmp_path)
    assert (found.train.label.tolist(), found.test.label.tolist()) == ([34, 33], [32])
    assert (found.train.place.tolist(), found.groups) == ([0, 1], ())
    with h5py.File(tmp_path / "SSC/ssc_valid.h5", "a") as file:
        del file["labels"]
    with pytest.raises(DataError, match=r"ssc_valid.h5: is damaged or of another format"):
        NAMED["ssc"].layout(tmp_path).parts()


def test_n_caltech101_is_read_with_the_clock_of_its_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "n-caltech101", ((2, 180, 240), 2))
    for label, title in enumerate(("BACKGROUND_Google", "ant")):
        for index in range(1, 6):
            content = five_bytes(table(100 * label + index, high=180))
            write(tmp_path / f"NCALTECH101/Caltech101/{title}/image_{index:04}.bin", content)
            write(tmp_path / f"NCALTECH101/Caltech101/{title}/._image_{index:04}.bin", b"of macOS")
    found = stored(NAMED["n-caltech101"], tmp_path)
    assert (len(found.train), len(found.test)) == (8, 2)
    assert found.train.time[0] == table(1, high=180)[0, 0]
    monkeypatch.setitem(DATASETS, "n-caltech101", ((2, 180, 240), 3))
    with pytest.raises(DataError, match="must have the 3 class folders of N-Caltech101, got 2"):
        NAMED["n-caltech101"].layout(tmp_path)


def test_spoken_digits_become_spikes_of_bands(tmp_path: Path) -> None:
    """The bands that a tone excites most are around its frequency."""
    for hertz in (300, 1000, 3000):
        time = np.arange(4000) / 8000
        spikes = sound.spikes(10_000 * np.sin(2 * np.pi * hertz * time))
        edges = np.geomspace(sound.LOWEST_HZ, sound.HIGHEST_HZ, sound.BANDS + 2)
        counts = np.bincount(spikes.y, minlength=64)
        band = int(np.median(np.flatnonzero(counts == counts.max())))  # neighbours hear it, too
        assert edges[band - 2] <= hertz <= edges[band + 3]
    for digit in (0, 1):
        for index in range(6):
            (tmp_path / "recordings").mkdir(exist_ok=True)
            with wave.open(str(tmp_path / f"recordings/{digit}_ann_{index}.wav"), "wb") as file:
                file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
                tone = np.sin(np.arange(4000) * (0.2 + 0.1 * index + digit))
                file.writeframes((9000 * tone).astype("<i2").tobytes())
    found = stored(NAMED["spoken-digits"], tmp_path)
    assert (len(found.train), len(found.test), found.shape) == (2, 10, (1, 64, 1))
    path = tmp_path / "recordings/1_ann_0.wav"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="was cut short"):
        sound.wav(path)


def own(folder: Path, text: str) -> OwnFolder:
    (folder / own_recordings.FILE).write_text(text)
    return OwnFolder(name="mine", declared=own_recordings.read(folder / own_recordings.FILE))


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set `mine` of 34x34 pixels."""
    monkeypatch.setitem(DATASETS, "mine", ((2, 34, 34), 2))


EVENTS = "size = [2, 34, 34]\nclip_ms = 100\n"


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("has_parts", [False, True])
def test_a_folder_of_classes_is_a_data_set(has_parts: bool, tmp_path: Path) -> None:
    for number, title in enumerate(("wave", "tap")):
        for index in range(10):
            part = ("test/" if index > 7 else "train/") if has_parts else ""
            path = tmp_path / f"{part}{title}/{index}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, structured(table(20 * number + index)))
    found = stored(own(tmp_path, EVENTS), tmp_path)
    assert found.classes == ("tap", "wave")
    assert (len(found.train), len(found.test)) == (16, 4)


@pytest.mark.usefixtures("mine")
def test_what_a_folder_has_beside_recordings_is_said(tmp_path: Path) -> None:
    """A file of an unknown format, polarities of -1 and 1, and a suffix that lies."""
    for number, title in enumerate(("wave", "tap")):
        for index in range(10):
            path = tmp_path / f"set/{title}/{index}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = table(20 * number + index)
            values[:, 3] = 2 * values[:, 3] - 1
            np.save(path, values)
    plain = stored(own(tmp_path / "set", EVENTS), tmp_path)
    assert plain.train.place.max() >= 34 * 34  # ON is the second channel
    assert report.suspicions(plain, "mine") == []
    (tmp_path / "set/tap/10.pkl").write_bytes(b"x")
    (said,) = report.suspicions(stored(own(tmp_path / "set", EVENTS), tmp_path), "mine")
    assert said.startswith("mine: of no known format, so not read: 1 file beside the recordings")
    assert said.endswith("tap/10.pkl")
    (tmp_path / "set/tap/9.npy").rename(tmp_path / "set/tap/9.bin")
    with pytest.raises(DataError, match=r"tap/9.bin: begins as a .npy file, not as its suffix"):
        stored(own(tmp_path / "set", EVENTS), tmp_path)


@pytest.mark.usefixtures("mine")
def test_long_recordings_are_cut_by_a_table_and_stay_in_one_part(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", structured(table(ord(name))))
    rows = ["file,start,end,class,part", "a.npy,0,60000,x,train", "a.npy,60000,120000,y,train"]
    rows += ["b.npy,0,60000,x,test", "b.npy,60000,120000,y,test"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = stored(own(tmp_path, EVENTS), tmp_path)
    assert (found.classes, len(found.train), len(found.test)) == (("x", "y"), 2, 2)
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "a.npy,0,60000,x,test"]))
    with pytest.raises(DataError, match=r"line 6: a.npy is in both parts"):
        own(tmp_path, EVENTS).layout(tmp_path)
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "b.npy,0,inf,x,test"]))
    with pytest.raises(DataError, match=r"line 6 must have numbers start and end"):
        own(tmp_path, EVENTS).layout(tmp_path)
    in_ms = [row.replace("60000", "60").replace("120000", "120") for row in rows]
    (tmp_path / "labels.csv").write_text("\n".join(in_ms).replace("npy", "csv"))
    for name in ("a", "b"):
        lines = [f"{t / 1000},{x},{y},{p}" for t, x, y, p in table(ord(name)).tolist()]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    again = stored(own(tmp_path, EVENTS + "time_unit = 'ms'\n"), tmp_path)
    assert np.array_equal(again.train.time, found.train.time)


@pytest.mark.usefixtures("mine")
def test_groups_of_names_are_never_split_between_the_parts(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for number, title in enumerate(("tap", "wave")):
        for index in range(12):
            path = folder / title / f"{'abcdef'[index % 6]}_{index}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, structured(table(20 * number + index)))
    found = stored(own(folder, EVENTS + "groups = '^[a-z]'\n"), tmp_path)
    assert found.groups == ("a", "b", "c", "d", "f", "e")  # e, the fifth, is the test
    assert [found.groups[place] for place in np.unique(found.test.group)] == ["e"]
    assert found.train.group.max() == 4
    with pytest.raises(DataError, match=r"0.npy: its name has no group, which is '\^x'"):
        own(folder, EVENTS + "groups = '^x'\n").layout(tmp_path)
    with pytest.raises(DataError, match=r"has the one group _, which cannot be in both parts"):
        own(folder, EVENTS + "groups = '_'\n").layout(tmp_path)


@pytest.mark.usefixtures("mine")
def test_files_of_a_table_are_groups_unless_it_names_others(tmp_path: Path) -> None:
    for name in "abcdef":
        np.save(tmp_path / f"{name}.npy", structured(table(ord(name))))
    rows = [f"{n}.npy,{s},{s + 50000},{c}" for n in "abcdef" for s, c in ((0, "x"), (60000, "y"))]
    (tmp_path / "labels.csv").write_text("\n".join(["file,start,end,class", *rows]))
    found = stored(own(tmp_path, EVENTS), tmp_path)
    assert [found.groups[place] for place in np.unique(found.test.group)] == ["e.npy"]
    named = [f"{row},{'s1' if row[0] < 'd' else 's2'}" for row in rows]
    (tmp_path / "labels.csv").write_text("\n".join(["file,start,end,class,group", *named]))
    found = stored(own(tmp_path, EVENTS), tmp_path)
    assert (found.groups, len(found.train), len(found.test)) == (("s1", "s2"), 6, 6)
    assert own(tmp_path, EVENTS).declared.is_grouped
    for bad, message in (
        ("file,start,end\na.npy,0,1", "first line must name the columns file, start, end, class"),
        ("file,start,end,class\na.npy,0,9", "line 2 must be file,start,end,class, got a.npy,0,9"),
        ("file,start,end,class\na.npy,0,9,", "line 2 has no class: a.npy,0,9,"),
    ):
        (tmp_path / "labels.csv").write_text(bad)
        with pytest.raises(own_recordings.DeclarationError, match=message):
            own(tmp_path, EVENTS)


SERIES = 'kind = "series"\nchannels = 2\ninterval_ms = 10\nclip_ms = 30\nclasses = ["1", "2"]\n'
TS = "@problemName x\n@classLabel true 1 2\n@data\n1,2,3,4:0,0,0,1:1\n4,3,2,1:0,0,0,0:2\n"


def test_series_are_read_from_ts_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "mine", ((2, 2, 1), 2))
    (tmp_path / "X_TRAIN.ts").write_text(TS)
    (tmp_path / "X_TEST.ts").write_text(TS.replace("1,2,3,4", "1,2,3,5").replace("4,3", "5,3"))
    found = stored(own(tmp_path, SERIES), tmp_path)
    assert found.train.value.tolist()[:4] == [[1, 0], [2, 0], [3, 0], [4, 1]]
    assert (found.train.label.tolist(), found.interval_us) == ([0, 1], 10_000)
    for bad, message in (
        (TS.replace("1,2,3,4", "1,?,3,4"), "line 4: must be numbers"),
        (TS.replace("1,2,3,4", "1,nan,3,4"), "line 4: values must be finite"),
        (TS.replace("4,3,2,1:", ""), "line 5: must have 2 channels, got 1"),
        (TS.replace(":2\n", ":9\n"), "series 2 has class '9', not in dataset.toml"),
        ("@data\n", "has no series after @data"),
        ("nonsense", "must be after @data"),
    ):
        (tmp_path / "X_TRAIN.ts").write_text(bad)
        with pytest.raises(DataError, match=message):
            stored(own(tmp_path, SERIES), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 3", "size must be list, got 3"),
        ("colour = 1", "unknown key 'colour'; known: name, kind"),
        ("clip_ms = 1", "needs size for kind 'events'"),
        ("size = [3, 4, 5]\nclip_ms = 1", r"size must be \[polarities"),
        ("size = [2, 4, 5]\nclip_ms = 0", "clip_ms must be above 0"),
        ("size = [2, 4, 5]\nclip_ms = 1\ntime_unit = 'min'", "time_unit must be one of us, ms, s"),
        ("size = [2, 4, 5]\nclip_ms = 1\non = 2", "on must be 0 or 1"),
        ("size = [2, 4, 5]\nclip_ms = 1\ncolumns = 'abc'", "columns must be the letters"),
        ("kind = 'series'", "needs interval_ms for kind 'series'"),
        ("size = [2, 4, 5]\nclip_ms = 1\ngroups = '('", "groups must be a regular expression"),
        ("size = ", "is no TOML file"),
    ],
)
def test_a_wrong_dataset_toml_is_reported_in_one_line(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(own_recordings.DeclarationError, match=message) as caught:
        own(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("name", [name for name in NAMED if "saccades" not in name])
def test_missing_files_are_reported_with_their_place_and_origin(name: str, tmp_path: Path) -> None:
    message = r"not found; put .* there \(.*\), or point --data .* folder that contains \w[\w-]*/"
    with pytest.raises(DataError, match=message):
        NAMED[name].layout(tmp_path)


@pytest.mark.usefixtures("mine")
def test_a_class_without_recordings_or_a_foreign_one_is_reported(tmp_path: Path) -> None:
    for title in ("train/a", "train/b", "test/c"):
        (tmp_path / title).mkdir(parents=True)
    with pytest.raises(own_recordings.DeclarationError, match="must have a folder of recordings"):
        own(tmp_path / "test" / "c", EVENTS)
    with pytest.raises(DataError, match="train/a: has no recordings"):
        own(tmp_path, EVENTS).layout(tmp_path)
    for title in ("train/a", "train/b", "test/c"):
        np.save(tmp_path / title / "1.npy", structured(table(1)))
    with pytest.raises(DataError, match="test/c: is no class of the training part"):
        own(tmp_path, EVENTS).layout(tmp_path)


def pairs(first: int) -> list[tuple[Any, int]]:
    return [(structured(table(first + n)), n % 2) for n in range(4)]


def test_a_python_sequence_of_events_and_labels_is_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").write_text("x")
    for known in (DATASETS, RECORDINGS, extensions.EVENT_READERS):
        monkeypatch.setitem(known, "seq", None)  # type: ignore[arg-type]
        known.pop("seq")  # type: ignore[attr-defined]  # taken away again after the test
    extensions.add_events(
        "seq", shape=(2, 34, 34), classes=2, clip_ms=100,
        read=lambda root: ([root / "source"], pairs(0), pairs(50)),
    )  # fmt: skip
    source = OwnSequence(name="seq", reader=extensions.EVENT_READERS["seq"])
    assert stored(source, tmp_path).train.label.tolist() == [0, 1, 0, 1]
    wrong = OwnSequence(name="seq", reader=lambda root: ([root / "source"], [(table(1), 7)], []))
    with pytest.raises(DataError, match="training recording 0: label must be 0 to 1, got 7"):
        list(wrong.layout(tmp_path).parts()[0])
    broken = OwnSequence(name="seq", reader=lambda root: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(DataError, match=r"cannot be read from .*: ZeroDivisionError"):
        broken.layout(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shape": (3, 4, 4)}, "shape must be"),
        ({"classes": 1}, "classes must be at least 2"),
        ({"clip_ms": 0}, "clip_ms must be above 0"),
        ({"read": 3}, "read must be a function"),
    ],
)
def test_invalid_recordings_of_an_extension_are_refused(
    given: dict[str, Any], message: str
) -> None:
    valid: dict[str, Any] = {"shape": (2, 4, 4), "classes": 2, "clip_ms": 9, "read": pairs}
    with pytest.raises(extensions.ExtensionError, match=message):
        extensions.add_events("other", **valid | given)


def test_real_speech_has_the_spikes_of_the_published_recipe(tmp_path: Path) -> None:
    """About 1,650 an utterance at threshold 1.5."""
    if not SPEECH.exists():
        pytest.skip(f"{SPEECH} is not there: recordings are not part of the project")
    pack = np.load(SPEECH)
    steps = (pack["high"].astype(np.uint16) << 8 | pack["low"]).view(np.int16)
    ends = np.cumsum(pack["samples"])
    whole = np.cumsum(steps, dtype=np.int16).astype(np.float64)
    counts = [
        len(sound.spikes(whole[ends[n] - pack["samples"][n] : ends[n]]).time)
        for n in range(0, 3000, 60)
    ]
    assert 1300 < np.mean(counts) < 2000
