"""What a process may use of its machine."""

from pathlib import Path

import pytest

from search.worker.limits import allowed_processors, usual_threads


def a_group(root: Path, folder: str, limit: str) -> Path:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text("0::/outer/inner\n")
    group = root / "sys/fs/cgroup" / folder
    group.mkdir(parents=True, exist_ok=True)
    (group / "cpu.max").write_text(limit)
    return root


@pytest.fixture(autouse=True)
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_threads_fill_the_processors_that_a_container_may_use(tmp_path: Path) -> None:
    assert usual_threads(tmp_path) == allowed_processors(tmp_path) == 4
    assert usual_threads(a_group(tmp_path, "outer", "max 100000\n")) == 4
    assert usual_threads(a_group(tmp_path, "outer", "800000 100000\n")) == 4
    assert usual_threads(a_group(tmp_path, "outer", "150000 100000\n")) == 2
    assert allowed_processors(tmp_path) == 1.5


def test_of_nested_containers_the_tightest_counts(tmp_path: Path) -> None:
    a_group(tmp_path, "outer", "100000 100000\n")
    assert usual_threads(a_group(tmp_path, "outer/inner", "300000 100000\n")) == 1


def test_threads_that_are_asked_for_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usual_threads(a_group(tmp_path, "outer", "100000 100000\n")) == 3
