"""Two hosts and one study: a link that is cut, and a clock that is wrong, for real."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from search.store.store import Store
from search.trial.trial import TrialState
from tests.search.fake_engine import give_passes
from tests.search.postgres import own_server
from tests.search.runners.test_two_drivers import TEXT
from tests.two_hosts import two_hosts

ROOT = Path(__file__).parents[3]
QUICK = "connect_timeout=2&tcp_user_timeout=2000&keepalives_idle=1&keepalives_interval=1"
# Runs the study with a lease of eight seconds, and asks for it again while another one holds it.
# Trials wait for passes at a gate, so that a driver holds the study as long as a test wants. One
# that only asks watches an expired lease for half a minute.
DRIVER = """
import sys, time
from pathlib import Path
from search.runners import lease
from search.runners.progress import Lines
from search.runners.run import run_study
from search.store.store import LeaseHeldError, Store, StoreError
from search.study.study import study_from_toml
from tests.search.fake_engine import FakeEngine

url, text, artifacts, asks_again, gate = sys.argv[1:]
lease.SECONDS, lease.RENEW_EVERY_S = 8.0, 0.5 if asks_again == "yes" else 20.0
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        with Store(url) as store:
            run_study(
                study_from_toml(text), store=store, artifacts=artifacts, data_dir=Path("."),
                workers=0, engine=FakeEngine(gate=Path(gate)), progress=Lines(sys.stdout),
            )
        print("ended", flush=True)
        break
    except LeaseHeldError as held:
        print("held:", held, flush=True)
        if asks_again == "no":
            break
        time.sleep(0.5)
    except StoreError as error:
        print("stopped:", error, flush=True)
        break
"""
# All clocks of the day are five minutes ahead; those that only run are as they are.
AHEAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += 300;
    return failed;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
"""


class Driver:
    """A driver in a process of its own, with all that it said."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        prefix: Sequence[str] = (),
        preload: Path | None = None,
        asks_again: bool = True,
    ) -> None:
        self.gate = Path(tempfile.mkdtemp(dir=folder))
        again = "yes" if asks_again else "no"
        words = [url, TEXT, str(folder / "artifacts"), again, str(self.gate)]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", DRIVER, *words],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **({"LD_PRELOAD": str(preload)} if preload else {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(iter(self.process.stdout.readline, ""))

    def go(self, trials: int = 0) -> "Driver":
        """Begin, once everything is loaded; after that many trials the next one waits."""
        give_passes(self.gate, trials)
        self.hears("ready")
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self

    def opens(self) -> None:
        """Let all trials through."""
        (self.gate / "open").touch()

    def hears(self, words: str, *, times: int = 1, within_s: float = 120) -> str:
        """Wait until lines with these words were said; return the last of them."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            found = [line for line in list(self.said) if words in line]
            if len(found) >= times:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(f"not said: {words!r}\n{''.join(self.said)}")

    def ends(self, within_s: float = 120) -> str:
        self.process.wait(timeout=within_s)
        self._reader.join(timeout=10)
        return "".join(self.said)


@contextlib.contextmanager
def driving(*arguments: object, **options: object) -> Iterator[Driver]:
    driver = Driver(*arguments, **options)  # type: ignore[arg-type]
    try:
        yield driver
    finally:
        driver.process.kill()
        driver.process.wait(timeout=30)


@pytest.mark.timeout(900)
def test_a_driver_behind_a_cut_link_loses_its_study_to_one_that_sees_the_store(
    tmp_path: Path,
) -> None:
    with two_hosts() as hosts:
        if hosts is None:
            pytest.skip("this user cannot make network namespaces: no second host")
        with own_server(listen=hosts.here) as server, Store(server.url) as store:
            url = f"{server.url}?{QUICK}"
            with (
                driving(url, tmp_path, prefix=hosts.run_there) as there,
                driving(url, tmp_path) as here,
            ):
                here.hears("ready")
                there.go(2).hears(" complete ", times=2)
                here.go(3).hears("held: ")
                first = store.lease_of("small").holder
                hosts.cut()
                there.opens()
                there.hears("waiting for the store for at most")
                here.hears(" complete ", times=3)  # by the clock of the database
                second = store.lease_of("small").holder
                assert second not in (None, first)
                hosts.mend()
                told = there.hears("stopped: ")
                assert "this run lost the study 'small' to " in told
                here.opens()
                assert "ended" in here.ends().splitlines()
                there.ends()
            trials = store.trials("small")
            events = store.events("small")
            lease = store.lease_of("small")
    assert [trial.number for trial in trials] == list(range(40))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert lease.holder is None
    by_first, by_second = (
        [
            int(line.split()[1])
            for line in driver.said
            if line.startswith("trial ") and " complete " in line
        ]
        for driver in (there, here)
    )
    assert by_first + by_second == [*range(40)], "".join(there.said + here.said)
    assert [event.kind for event in events].count("requeued") == 1


@pytest.fixture
def ahead(tmp_path: Path) -> Path:
    """A library that shifts the clock of a process which loads it first."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: a clock cannot be shifted")
    source, library = tmp_path / "ahead.c", tmp_path / "ahead.so"
    source.write_text(AHEAD)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    shown = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True,
    )  # fmt: skip
    if float(shown.stdout) - time.time() < 200:
        pytest.skip("this Python reads the clock past the C library: it cannot be shifted")
    return library


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_machine_whose_clock_is_ahead_neither_takes_a_study_nor_keeps_it(
    database: str, ahead: Path, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/store.db"
        if database == "postgresql":
            url = stack.enter_context(own_server()).url
        store = stack.enter_context(Store(url))
        late, early_asks, early_runs, other = (  # all of them load at the same time
            stack.enter_context(driving(url, tmp_path, **options))
            for options in (
                {},
                {"preload": ahead, "asks_again": False},
                {"preload": ahead},
                {"asks_again": False},
            )
        )
        for each in (early_asks, early_runs, other):
            each.hears("ready")
        late.go(1).hears(" complete ")
        holder = store.lease_of("small").holder
        assert "held: " in early_asks.go().ends()
        assert store.lease_of("small").holder == holder
        late.process.kill()
        late.process.wait()
        # the clock of the second one is five minutes ahead in all that it writes
        early_runs.go(2).hears(" complete ", times=2)
        assert "held: " in other.go().ends()
        early_runs.opens()
        assert "ended" in early_runs.ends().splitlines()
        assert {trial.state for trial in store.trials("small")} == {TrialState.COMPLETE}
