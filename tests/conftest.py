"""What all tests share: one seed for everything random."""

import gc
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is. Each run draws the same examples:
# one that rarely fails is for those who look for it, with --hypothesis-profile=default.
SLOW = [HealthCheck.too_slow]
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.load_profile("same")

# read when triton is first imported, by whichever test: kernels run without a GPU
os.environ.setdefault("TRITON_INTERPRET", "1")

THREADS = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))

# A shell's background job ignores Ctrl-C, and what it starts does so, too: tests that press it
# on a command of ours would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files that mostly wait, for Ray, leases and databases: one process takes them one after another,
# while the others compute.
WAITING = ("test_two_hosts.py", "test_ray.py", "test_cluster.py", "test_store_gone.py")
# Files of half a minute and more, the longest first: begun last, one of them would keep a process
# busy when the others have ended (make test gives whole files to processes, in this order).
LONG = (
    "test_pages.py", "test_how_to_pages.py", "test_faults.py", "test_stories.py",
    "test_extensions.py", "test_stderr.py", "test_browser.py", "test_server.py", "test_parts.py",
    "test_confirm.py", "test_hostile.py", "test_stage_checkpoint.py", "test_views.py",
    "test_block_cache.py", "test_conversion.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of files that wait first, then those of long ones."""
    rank = {name: place for place, name in enumerate((*WAITING, *LONG))}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give files that wait to the first process, as long as there are any, and only to it."""
    from xdist.scheduler import LoadFileScheduling

    class InLanes(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            is_first = node is self.nodes[0]
            for file in self.workqueue:
                if file.endswith(WAITING) == is_first:
                    self.workqueue.move_to_end(file, last=False)
                    break
            super()._assign_work_unit(node)

    return InLanes(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """Look no more for garbage among what was loaded: it takes a third of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Give back the threads of torch that a test took: the processes of tests have one each."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    torch = sys.modules.get("torch")
    if torch and torch.get_num_threads() != (before or THREADS):
        torch.set_num_threads(before or THREADS)


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Allow this process one of several processors."""
    usual = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set[int]()
    if len(usual) < 2:
        pytest.skip("no affinity here, or one processor")
    os.sched_setaffinity(0, {min(usual)})
    yield
    os.sched_setaffinity(0, usual)


@pytest.fixture(autouse=True)
def seed() -> int:
    """The seed that every test starts from, set before it; for what wants one of its own.

    torch is seeded where the test file has loaded it, so that the others stay quick.
    """
    value = 20_260
    random.seed(value)
    np.random.seed(value)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(value)
    return value


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages of the documentation start from; each works on a copy."""
    from tests.page_folder import prepare  # loads torch, which most tests do without

    return prepare(tmp_path_factory.mktemp("prepared"))
