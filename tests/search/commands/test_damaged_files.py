"""Damaged files of every kind that commands read: a line on stderr and exit code 2, no traceback.

Each kind of file is changed at random: bytes of it, or values and keys in its structure.
"""

import contextlib
import copy
import gzip
import json
import math
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from search.commands import cli
from search.export.folder import ExportError, read_config, read_folder
from snn.data.image_files import SOURCES, DataError
from snn.settings.config import ConfigError
from tests.search.commands.test_cli import STUDY
from tests.snn.data.test_data import write_idx

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CONFIG = 'backbone = "mlp"\nwidth = 4\nepochs = 1\ntrain_images = 60\nhead_hidden = 0\n'
CSV = "width,timesteps,accuracy,synaptic_ops,model_bytes\n4,2,0.5,100,1000\n4,3,0.6,200,1000\n"
WORDS = ("", "é", "\x00", "nan", "-1", "1e999", "x" * 3000, "../..", "true", "²", "9" * 5000)

values = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**63, 10**400, -(10**30), 3]),
    st.floats(),
    st.sampled_from(WORDS),
    st.lists(st.integers(-2, 9), max_size=3),
    st.dictionaries(st.sampled_from(["low", "high", "max", "step", "x"]), st.integers(-3, 9)),
)


def places(document: Any) -> list[tuple[Any, ...]]:
    """The path of every value in a document of dictionaries and lists."""
    found: list[tuple[Any, ...]] = []
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in entries:
        found.append((key,))
        if isinstance(value, dict | list):
            found += [(key, *rest) for rest in places(value)]
    return found


@st.composite
def changed(draw: st.DrawFn, document: Mapping[str, Any], *, nothing: bool = True) -> Any:
    """A document with a value replaced, removed or added; `nothing`: with None among the values."""
    result = copy.deepcopy(dict(document))
    for _ in range(draw(st.integers(1, 2))):
        *path, key = draw(st.sampled_from(places(result)))
        inner: Any = result
        for step in path:
            inner = inner[step]
        change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if change == "remove":
            del inner[key]
        elif change == "add" and isinstance(inner, dict):
            inner[draw(st.sampled_from(["x", "seed", "name", ""]))] = draw(values)
        else:
            inner[key] = draw(values)
        if not result:
            break
    return result if nothing else without_none(result)


def without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    return [without_none(v) for v in value if v is not None] if isinstance(value, list) else value


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes with a part of them removed, replaced or repeated."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 40)))
    new = draw(st.one_of(st.binary(max_size=8), st.just(data[start:end] * 2), st.just(b"[" * 1500)))
    return data[:start] + new + data[end:]


def refused_or_done(words: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """Exit code of a command: 0, or a line or more on stderr with 1 or 2."""
    capsys.readouterr()
    code = cli.main(words)
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in out + err
    if code == 2:
        assert err
        assert all(line.startswith("spikefront: ") for line in err.splitlines()), err
    return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported folder of a network that was trained for an epoch."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "config.toml").write_text(CONFIG)
    out = str(folder / "best")
    assert cli.main(["train", str(folder / "config.toml"), "--out", out, "-q"]) == 0
    return folder / "best"


def toml_of(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


IMPORT = ["import", "study.toml", "earlier.csv", "--store", "sqlite:///store.db"]


@FUZZ
@given(document=changed(toml_of(STUDY), nothing=False))
def test_a_study_file_with_wrong_values_is_refused(
    document: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    Path("earlier.csv").write_text("")
    assert refused_or_done(IMPORT, capsys) == 2


@FUZZ
@given(data=damaged(STUDY.encode()))
def test_a_study_file_with_wrong_bytes_is_refused(
    data: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_bytes(data)
    Path("earlier.csv").write_text("")
    assert refused_or_done(IMPORT, capsys) == 2


@FUZZ
@given(data=damaged(CSV.encode()))
def test_a_csv_file_with_wrong_bytes_is_read_or_refused(
    data: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(
        STUDY.replace("partition = { max_blocks = 2, min_blocks = 2 }", "")
    )
    Path("earlier.csv").write_bytes(data)
    refused_or_done(IMPORT, capsys)


def read_or_refused(read: Callable[[Path], object], path: Path) -> None:
    with contextlib.suppress(ExportError, ConfigError):
        read(path)


@FUZZ
@given(
    text=st.one_of(
        changed(toml_of(CONFIG), nothing=False).map(lambda d: tomli_w.dumps(d).encode()),
        damaged(CONFIG.encode()),
    )
)
def test_a_config_file_with_wrong_content_is_read_or_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(text)
    read_or_refused(read_config, tmp_path / "config.toml")


def test_a_config_file_without_a_setting_is_refused(tmp_path: Path) -> None:
    """An empty file trained the default network."""
    (tmp_path / "config.toml").write_text("# nothing\n")
    with pytest.raises(ExportError, match="must have at least one setting of a run"):
        read_config(tmp_path / "config.toml")


def test_files_with_a_byte_order_mark_are_read(folder: Path) -> None:
    for name in ("config.toml", "metrics.json"):
        path = folder / name
        before = path.read_bytes()
        path.write_bytes(b"\xef\xbb\xbf" + before)
        read_folder(folder)
        path.write_bytes(before)


@settings(FUZZ, max_examples=150)
@given(data=st.data())
def test_a_metrics_file_with_wrong_content_is_read_or_refused(
    folder: Path, data: st.DataObject
) -> None:
    path = folder / "metrics.json"
    before = path.read_bytes()
    documents = changed(json.loads(before)).map(lambda d: json.dumps(d).encode())
    path.write_bytes(data.draw(st.one_of(documents, damaged(before))))
    try:
        read_or_refused(read_folder, folder)
    finally:
        path.write_bytes(before)


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_a_weights_file_with_a_wrong_header_is_run_or_refused(
    folder: Path, data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "weights.safetensors"
    before = path.read_bytes()
    tensors = load_file(path)
    size = int.from_bytes(before[:8], "little")
    header = json.loads(json.loads(before[8 : 8 + size])["__metadata__"]["spikefront"])
    if data.draw(st.booleans()):
        new = data.draw(changed(header))
        save_file(tensors, path, metadata={"spikefront": json.dumps(new)})
    else:
        path.write_bytes(data.draw(damaged(before[: size + 64])) + before[size + 64 :])
    try:
        refused_or_done(["evaluate", str(folder)], capsys)
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Root folders of a small MNIST, as its files are published and unzipped."""
    roots = {form: tmp_path_factory.mktemp(form) for form in ("raw", "gz")}
    for form, root in roots.items():
        write_idx(root / "mnist", form=form)
    return roots


@settings(FUZZ, max_examples=150)
@given(data=st.data())
def test_idx_files_with_wrong_bytes_are_read_or_refused(
    images: Mapping[str, Path], data: st.DataObject
) -> None:
    root = images[data.draw(st.sampled_from(["raw", "gz"]))]
    path = data.draw(st.sampled_from(sorted((root / "mnist").iterdir())))
    before = path.read_bytes()
    numbers = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 20, 28, 2049, 2051]))

    def header(place: int, number: int) -> bytes:
        whole = gzip.decompress(before) if path.suffix == ".gz" else before
        new = whole[: 4 * place] + number.to_bytes(4, "big") + whole[4 * place + 4 :]
        return gzip.compress(new) if path.suffix == ".gz" else new

    new = data.draw(
        st.one_of(
            damaged(before), damaged(before[:60]), st.builds(header, st.integers(0, 3), numbers)
        )
    )
    path.write_bytes(new)
    try:
        with contextlib.suppress(DataError):
            SOURCES["mnist"].check(root)
        parts, refusal = None, ""
        try:
            parts = SOURCES["mnist"].read(root)
        except DataError as error:
            refusal = str(error)
        if parts is None:
            assert path.name in refusal
            assert "\n" not in refusal
        else:
            assert [part.images.shape for part in parts] == [(60, 1, 28, 28), (20, 1, 28, 28)]
            assert all(0 <= label < 10 for part in parts for label in part.labels)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("form", ["raw", "gz"])
def test_a_header_that_announces_terabytes_is_refused_in_little_memory(
    form: str, images: Mapping[str, Path]
) -> None:
    [path] = (images[form] / "mnist").glob("train-images*")
    before = path.read_bytes()
    whole = gzip.decompress(before) if form == "gz" else before
    new = whole[:4] + b"\xff" * 4 + whole[8:]
    path.write_bytes(gzip.compress(new) if form == "gz" else new)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="the 4294967295 images that its header announces"):
            SOURCES["mnist"].read(images[form])
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
        path.write_bytes(before)


@settings(FUZZ, max_examples=40)
@given(
    field=st.sampled_from(["weight", "bias", "v_threshold", "tau", "r", "v_leak"]),
    value=st.sampled_from(
        [
            np.float32(math.nan),
            np.float32(0),
            np.zeros((0,), np.float32),
            np.ones((2, 3, 4), np.float32),
            np.full(10, -1.0, np.float32),
            np.array([b"text"] * 10),
        ]
    ),
)
def test_a_nir_file_with_wrong_values_is_run_or_refused(
    field: str,
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nir = pytest.importorskip("nir")
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    ones = np.ones(10, np.float32)
    nodes = [
        nir.Affine(weight=np.ones((10, 64), np.float32), bias=ones),
        nir.LIF(tau=ones, r=ones, v_leak=0 * ones, v_threshold=ones),
    ]
    nir.write("x.nir", nir.NIRGraph.from_list(*nodes))
    with h5py.File("x.nir", "r+") as file:
        found: list[str] = []
        file.visit(lambda name: found.append(name) if name.endswith(f"/{field}") else None)
        for name in found:
            del file[name]
            file[name] = value
    refused_or_done(["evaluate", "x.nir", "--dataset", "digits"], capsys)
