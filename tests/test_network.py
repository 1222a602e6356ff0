"""Pages and interfaces of the network wait for each other."""

import tempfile
import threading
from pathlib import Path

import pytest

from tests import network


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the other tests."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(network, "SETTLE_S", 0.0)


def test_an_interface_waits_for_open_pages_and_the_next_page_for_it() -> None:
    waits, changed, opened = threading.Event(), threading.Event(), threading.Event()
    was_open = []

    def change() -> None:
        waits.set()
        with network.changing():
            changed.set()
            was_open.append(opened.wait(0.2))

    def open_one() -> None:
        with network.still():
            opened.set()

    threads = [threading.Thread(target=act) for act in (change, open_one)]
    with network.still(), network.still():
        threads[0].start()
        assert waits.wait(120)
        assert not changed.wait(0.2)
    assert changed.wait(120)
    threads[1].start()
    for thread in threads:
        thread.join(120)
    assert (was_open, opened.is_set()) == ([False], True)
