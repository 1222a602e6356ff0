"""Formats: what is written is read, real files are as listed, damage is one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snn.data.events.events import Events, Form, recording
from snn.data.events.formats import read
from snn.data.image_files import DataError
from tests.snn.data.events.writers import WRITERS, Table, bs1, five_bytes, structured

SAMPLES = Path(__file__).parents[5] / "shared" / "data" / "events" / "samples"

EVENT = st.tuples(
    st.integers(0, 2**22), st.integers(0, 127), st.integers(0, 127), st.integers(0, 1)
)
TABLES = st.lists(EVENT, max_size=40).map(
    lambda rows: np.array(sorted(rows, key=lambda row: row[0]), np.int64).reshape(-1, 4)
)


def table_of(events: Events) -> Table:
    return np.stack(events, axis=1)


@pytest.mark.parametrize("suffix", WRITERS)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=TABLES)
def test_every_format_returns_the_events_that_were_written(
    suffix: str, table: Table, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(WRITERS[suffix](table))
    assert table_of(read(path)).tolist() == table.tolist()


def test_packets_of_events_of_aedat_4_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aedat = pytest.importorskip("aedat", reason="aedat is not installed: extra events")
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#!AER-DAT4.0\r\n")
    # as aedat declares it
    kind = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), "?")])
    packets = [
        {"events": np.array([(7, 1, 2, True), (8, 3, 4, False)], kind)},
        {"triggers": np.zeros(1)},
        {"events": np.array([(9, 5, 6, True)], kind)},
    ]
    monkeypatch.setattr(aedat, "Decoder", lambda name: packets)
    assert table_of(read(path)).tolist() == [[7, 1, 2, 1], [8, 3, 4, 0], [9, 5, 6, 1]]
    packets.clear()
    assert len(read(path).time) == 0


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".mat", ".bs1"])
def test_arrays_and_units_are_read_in_any_order_of_fields(suffix: str, tmp_path: Path) -> None:
    table = np.array([[5, 3, 2, 1], [9, 1, 7, 0], [1200, 127, 0, 1]], np.int64)
    path, fields = tmp_path / f"a{suffix}", dict(zip("pytx", table.T[[3, 2, 0, 1]], strict=True))
    if suffix == ".npy":
        np.save(path, structured(table))
    elif suffix == ".npz":
        np.savez(path, **fields)
    elif suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(path, fields)
    elif suffix == ".bs1":
        path.write_bytes(bs1(table))
        table[:, [1, 3]] = 0
    else:
        h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        with h5py.File(path, "w") as file:
            for name, values in fields.items():
                file[f"events/{name}"] = values
    assert table_of(read(path)).tolist() == table.tolist()


def test_seconds_become_microseconds_and_columns_are_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("# from a sensor\n0.000001 3 4 1\n1.2 5 6 0\n")
    assert read(path, unit_us=1e6).time.tolist() == [1, 1_200_000]
    assert read(path, unit_us=1e3).time.tolist() == [0, 1200]
    (tmp_path / "a.bin").write_bytes(five_bytes(np.array([[3, 4, 5, 1]])))
    assert read(tmp_path / "a.bin", unit_us=1e3).time.tolist() == [3000]
    np.save(tmp_path / "a.npy", np.array([[3, 4, 1, 7]]))
    assert table_of(read(tmp_path / "a.npy", columns="xypt")).tolist() == [[7, 3, 4, 1]]


@pytest.mark.parametrize(
    ("name", "events", "first", "last", "x", "y", "share_on"),
    [
        ("nmnist.bin", 4325, 654, 311_175, 33, 33, 0.496),
        ("nmnist.bs2", 4681, 893, 305_924, 33, 33, 0.497),
        ("ntidigits.bs1", 898, 0, 1_079_040, 0, 63, 0.0),
        ("ncars.dat", 2009, 0, 99_952, 77, 41, 0.672),
        ("stmnist.mat", 2346, 196_626, 895_745, 9, 8, 0.682),
        ("evt2.raw", 539_481, 1_317_888, 1_367_888, 599, 475, 0.682),
        ("evt3.raw", 219_596, 11_718_656, 11_727_457, 1279, 719, 0.526),
        ("dv.aedat4", 9408, 1, 1, 512, 384, 1.0),
        ("pokerdvs-club.es", 2628, 0, 14_727, 29, 31, 0.733),
    ],
)
def test_real_files_hold_what_they_are_known_to_hold(
    name: str, events: int, first: int, last: int, x: int, y: int, share_on: float
) -> None:
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"{path} is not there: real files are not part of the project")
    if name.endswith("aedat4"):
        pytest.importorskip("aedat", reason="aedat is not installed: extra events")
    found = read(path)
    assert (len(found.time), found.time[0], found.time[-1]) == (events, first, last)
    assert (found.x.max(), found.y.max(), round(float(found.on.mean()), 3)) == (x, y, share_on)


@pytest.mark.parametrize(
    ("name", "encoding"), [("ncars.dat", "dat"), ("evt2.raw", "evt2"), ("evt3.raw", "evt3")]
)
def test_prophesee_files_are_read_as_by_other_programs(name: str, encoding: str) -> None:
    """expelliarmus counts overflows of EVT 3.0 twice, so that evt3 judges its times."""
    if not (SAMPLES / name).exists():
        pytest.skip(f"{SAMPLES / name} is not there: real files are not part of the project")
    ours = read(SAMPLES / name)
    if encoding == "evt3":
        judge = pytest.importorskip("evt3", reason="evt3 is not installed")
        seen = judge.decode_file(str(SAMPLES / name))
        theirs = [seen.timestamp, seen.x, seen.y, seen.polarity]
    else:
        judge = pytest.importorskip("expelliarmus", reason="expelliarmus is not installed")
        seen = judge.Wizard(encoding=encoding).read(str(SAMPLES / name))
        theirs = [seen[field] for field in "txyp"]
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine, np.asarray(other).astype(np.int64))


def test_tonic_reads_the_same_events_of_n_mnist() -> None:
    if not (SAMPLES / "nmnist.bin").exists():
        pytest.skip("the real file is not part of the project")
    io = pytest.importorskip("tonic.io", reason="tonic is not installed")
    theirs = io.read_mnist_file(
        str(SAMPLES / "nmnist.bin"),
        dtype=np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]),
    )
    for mine, name in zip(read(SAMPLES / "nmnist.bin"), "txyp", strict=True):
        assert np.array_equal(mine, theirs[name])


@pytest.mark.parametrize("suffix", [s for s in WRITERS if s != ".csv"])
def test_a_file_that_was_cut_short_is_reported_with_its_name(suffix: str, tmp_path: Path) -> None:
    table = np.array([[n, 3, 4, 1] for n in range(20)], np.int64)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(WRITERS[suffix](table)[:-1])
    with pytest.raises(DataError, match=r"a\.\S+: .*cut short") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dat", b"% x\n\x05\x08" + b"\0" * 8, "must have events of type 0 or 12"),
        ("a.raw", b"% evt 2.1\n", "must be EVT 2.0 or EVT 3.0, got version 2.1"),
        ("a.raw", b"\x00\x01", "must be EVT 2.0 or EVT 3.0, got no header line"),
        ("a.es", b"Event Screen" + b"\0" * 9, "must begin with 'Event Stream'"),
        ("a.es", b"Event Stream\x02\0\0\x01", "ends within its header"),
        ("a.es", b"Event Stream\x01\0\0\x02" + b"\0" * 9, "got ATIS of 1.0.0"),
        ("a.aedat", b"\x00" * 32, "must begin with #!AER-DAT2.0, 3.1 or 4"),
        ("a.aedat4", b"\x00" * 32, "must begin with #!AER-DAT2.0, 3.1 or 4"),
        ("a.aedat", b"#!AER-DAT2.0\n# DAVIS240C\n", "only DVS128 is read"),
        ("a.npy", b"nonsense", "is damaged or of another format"),
        ("a.npz", b"nonsense", "is damaged or of another format"),
        ("a.mat", b"nonsense", "is damaged or of another format"),
        ("a.csv", b"t,x,y,p\n1,2,3,4\n1,2,x,4\n", "row 2 must be 4 numbers"),
        ("a.csv", b"1,2,3\n", "must have 4 columns"),
        ("a.csv", b"t,y\n1,2\n", "must have a field 'x', has t, y"),
        ("a.csv", b"1,2,3,1\n1,nan,3,1\n", "x of event 2 must be finite, got nan; leave"),
        ("a.csv", b"1e300,2,3,1\n", r"t must be below 2\^62"),
        ("a.csv", b"0.5,2,3,1\n", "declare time_unit = 's'"),
        ("a.jpg", b"", "is no format of events"),
    ],
)
def test_foreign_files_are_reported_in_one_line(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"t": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", t=np.array([print], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="contains a pickle, which is not read"):
            read(tmp_path / name)


FORM = Form(shape=(2, 4, 6))


def events(*rows: tuple[int, int, int, int]) -> Events:
    return Events(*np.array(rows, np.int64).reshape(-1, 4).T)


def test_a_recording_is_sorted_and_starts_with_its_first_event() -> None:
    made = recording(events((70, 5, 3, 1), (20, 0, 0, 0)), FORM, "here")
    assert (made.time.tolist(), made.place.tolist()) == ([0, 50], [0, (1 * 4 + 3) * 6 + 5])
    assert not made.is_sorted
    at_zero = Form(shape=(2, 4, 6), starts_at_zero=True, unit_us=1000, flips=(True, True), on=0)
    made = recording(events((20, 0, 0, 0)), at_zero, "here")
    assert (made.time.tolist(), made.place.tolist()) == ([20_000], [(1 * 4 + 3) * 6 + 5])


def test_a_few_events_outside_of_the_sensor_are_dropped_and_counted() -> None:
    inside = [(n, 1, 1, 1) for n in range(1999)]
    made = recording(events(*inside, (2000, 6, 1, 1)), FORM, "here")
    assert (len(made.time), made.outside) == (1999, 1)


@pytest.mark.parametrize(
    ("rows", "form", "message"),
    [
        ([(1, 6, 0, 0)], FORM, "1 of 1 events are outside of 6x4 pixels and 2 polarities"),
        ([(1, 0, 0, 2)], FORM, "correct the sensor's size"),
        ([(-1, 0, 0, 0)], Form(shape=(2, 4, 6), starts_at_zero=True), "no event before time 0"),
        ([(0, 0, 0, 0), (2**33, 0, 0, 0)], FORM, "must be shorter than 71 minutes"),
    ],
)
def test_events_that_cannot_be_are_reported(
    rows: list[tuple[int, int, int, int]], form: Form, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        recording(events(*rows), form, "here")


def test_a_recording_without_events_is_allowed() -> None:
    assert len(recording(events(), FORM, "here").time) == 0
