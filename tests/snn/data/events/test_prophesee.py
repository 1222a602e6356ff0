"""Prophesee's words: the compiled decoders and numpy return the same events of any words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snn.data.events import prophesee

KINDS = {"2.0": (0, 1, 8), "3.0": (0, 2, 3, 4, 5, 6, 8)}


def words_of(version: str) -> st.SearchStrategy[bytes]:
    """Return words, mostly of the kinds that mean something."""
    size = 4 if version == "2.0" else 2
    kind = st.sampled_from(KINDS[version]) | st.integers(0, 15)
    word = st.tuples(kind, st.integers(0, 2 ** (8 * size - 4) - 1))
    return st.lists(word, max_size=60).map(
        lambda rows: np.array([k << 8 * size - 4 | v for k, v in rows], f"<u{size}").tobytes()
    )


@pytest.mark.parametrize("version", KINDS)
@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_both_decoders_return_the_same_events(
    version: str, data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if prophesee._library() is None:
        pytest.skip("no compiler")
    path = tmp_path / "a.raw"
    path.write_bytes(f"% evt {version}\n".encode() + data.draw(words_of(version)))
    compiled = prophesee.raw(path)
    with monkeypatch.context() as patch:
        patch.setattr(prophesee, "_library", lambda: None)
        plain = prophesee.raw(path)
    assert [part.tolist() for part in compiled] == [part.tolist() for part in plain]
