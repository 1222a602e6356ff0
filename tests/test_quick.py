"""Commands that are forked from a loaded process."""

import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import quick

WAITS = "import time; print('begun', flush=True); time.sleep(1000)"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[quick.Server]:
    """One that has nothing loaded, in place of the usual one."""
    place = Path(tempfile.mkdtemp(prefix="quick-"))  # a socket's path has to be short
    monkeypatch.setattr(quick, "folder", lambda: place)
    with quick.start(place, is_loaded=False) as server:
        yield server
        server.kill()
    shutil.rmtree(place)


def test_a_command_ends_with_the_tests_that_started_it(
    server: quick.Server, tmp_path: Path
) -> None:
    """A run of the tests that was killed left them running for hours."""
    (tmp_path / "waits.py").write_text(WAITS)
    waits = quick.Module("waits", folder=tmp_path)
    assert waits.stdout is not None
    assert waits.stdout.readline() == "begun\n"
    command = os.pidfd_open(waits.child)
    assert server.stdin is not None
    server.stdin.close()  # as the end of this process would
    assert select.select([command], [], [], 120)[0], "the command goes on"
    os.close(command)
    waits.communicate(timeout=120)


@pytest.mark.usefixtures("server")
def test_a_signal_to_a_command_whose_client_has_not_ended_yet_reaches_nobody(
    tmp_path: Path,
) -> None:
    """A second Ctrl-C, or what cleans up behind a test, failed on a busy machine."""
    (tmp_path / "waits.py").write_text(WAITS)
    waits = quick.Module("waits", folder=tmp_path)
    command = os.pidfd_open(waits.child)
    os.kill(waits.pid, signal.SIGSTOP)  # the client
    waits.send_signal(signal.SIGTERM)
    assert select.select([command], [], [], 120)[0]
    while Path(f"/proc/{waits.child}").exists():
        time.sleep(0.01)
    waits.send_signal(signal.SIGINT)
    os.kill(waits.pid, signal.SIGINT)
    os.kill(waits.pid, signal.SIGCONT)
    _, said = waits.communicate(timeout=120)
    assert (waits.returncode, said) == (-signal.SIGTERM, "")
