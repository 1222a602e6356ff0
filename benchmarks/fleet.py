"""What a fleet of workers costs the store, the driver, Ray's messages and the dashboard.

A study driver serves `--workers` stand-in workers that train nothing. Their messages (one per
epoch, then 20 operating points with layers and exits) come in the order of a simulated clock, as
fast as the driver takes them, so that one process stands for any number of machines. Run by
`python -m benchmarks.scale --workers 500`, on PostgreSQL, or on SQLite if no server is found.

Counted, and equal on any machine: rows, bytes, transactions, messages and their bytes, memory of
the driver and of a page, all per trial. Timed: the driver's processor time and the whole time per
trial, from which the shortest trial follows that a fleet of this size may have.
"""

import gc
import heapq
import math
import pickle
import random
import re
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

from benchmarks.report import machine
from benchmarks.stand_in import FAMILY, StandIn, study_text
from dashboard.data.point_filter import visible_points
from dashboard.data.study_view import read_study
from search.runners import leased_run
from search.runners.driver import StudyDriver
from search.store.schema import Base
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from snn.settings.measurement import Measurement

NAME = "scale"
EPOCHS = 10  # of a block
STUDY_TRIALS = 100_000  # of the study that the page speaks of
TABLES = tuple(table.name for table in Base.metadata.sorted_tables)


@dataclass
class Work:
    """What the driver's thread asked the database to do, and the messages that it received."""

    counts: Counter[str] = field(default_factory=Counter)
    message_bytes: int = 0
    _thread: int = field(default_factory=threading.get_ident)

    def watch(self, store: Store) -> None:
        """Count transactions and statements of this thread; the lease is renewed by another one."""
        engine = store._database._engine
        event.listen(engine, "commit", self._committed)
        event.listen(engine, "before_cursor_execute", self._executed)

    def _committed(self, connection: sqlalchemy.Connection) -> None:
        if threading.get_ident() == self._thread:
            is_writing = connection.get_execution_options().get("is_writing", False)
            self.counts["writes" if is_writing else "reads"] += 1

    def _executed(self, *_: object) -> None:
        if threading.get_ident() == self._thread:
            self.counts["statements"] += 1

    def received(self, message: object) -> None:
        """Count a message, by its pickled size."""
        self.counts["messages"] += 1
        self.message_bytes += len(pickle.dumps(message))


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The figures of a run of a fleet; times in seconds, sizes in bytes."""

    database: str
    workers: int
    trials: int
    epochs: int
    work: Work
    rows: Mapping[str, int]  # by table
    store_bytes: int
    log_bytes: int | None  # that the server wrote ahead; None for SQLite
    driver_bytes: int  # that the driver's memory grew
    page_bytes: int  # that the page of the front allocated
    driver_cpu_s: float
    wall_s: float
    trial_ms: float  # median over single trials
    page_s: float


def run(url: str, *, workers: int, trials: int) -> Fleet:
    """Run a study of that many trials on a simulated fleet; `url` is of an empty database."""
    text = study_text(trials=trials, sampler="nsga2", workers=workers, epochs=EPOCHS, name=NAME)
    study = study_from_toml(text)
    place = WorkerContext(data_dir=Path(), trainable=StandIn())
    work = Work()
    with Store(url) as store, _without_polls():
        log = _log_position(store)
        with StudyDriver(study, store=store, artifacts=Path("artifacts")) as driver:
            work.watch(store)
            memory, cpu, wall = [], time.process_time(), time.perf_counter()
            spent: list[float] = []
            epochs = 0
            for number, seconds, trained in _served(driver, place, work, workers):
                epochs += trained
                spent.append(seconds)
                if number in (min(workers, trials // 2), trials):
                    gc.collect()
                    memory.append(_resident_bytes())
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        written = None if log is None else (_log_position(store) or log) - log
        rows = _rows(store)
        stored = _store_bytes(store)
    page_s, page_bytes = _page(url)
    grown = (memory[-1] - memory[0]) * trials / max(1, trials - min(workers, trials // 2))
    return Fleet(
        database=url.partition(":")[0].partition("+")[0],
        workers=workers,
        trials=trials,
        epochs=epochs,
        work=work,
        rows=rows,
        store_bytes=stored,
        log_bytes=written,
        driver_bytes=round(grown),
        page_bytes=page_bytes,
        driver_cpu_s=cpu,
        wall_s=wall,
        trial_ms=1e3 * statistics.median(spent),
        page_s=page_s,
    )


def _served(
    driver: StudyDriver, place: WorkerContext, work: Work, workers: int
) -> Iterator[tuple[int, float, int]]:
    """Serve the fleet; yield after each trial: trials ended, its seconds here, its epochs."""
    draw, order = random.Random(0), iter(range(2**62))
    queue: list[tuple[float, int, int, Any]] = []  # time, order, trial, messages
    spent: dict[int, float] = {}
    epochs: Counter[int] = Counter()
    ended = 0

    def start(now: float) -> None:
        begun = time.perf_counter()
        job = driver.next()
        if job is not None:
            spent[job.number] = time.perf_counter() - begun
            work.received(job)
            entry = (now + draw.uniform(0.5, 1.5), next(order), job.number, place.run(job))
            heapq.heappush(queue, entry)

    for _ in range(workers):
        start(0.0)
    while queue:
        now, _, number, messages = heapq.heappop(queue)
        message = next(messages)
        work.received(message)
        begun = time.perf_counter()
        if isinstance(message, Outcome):
            driver.finish(number, message)
            messages.close()
            ended += 1
            yield ended, spent.pop(number) + time.perf_counter() - begun, epochs.pop(number, 0)
            start(now)
            continue
        assert isinstance(message, Measurement)
        driver.record(number, message)
        epochs[number] += 1
        spent[number] += time.perf_counter() - begun
        entry = (now + draw.uniform(0.5, 1.5), next(order), number, messages)
        heapq.heappush(queue, entry)


@contextmanager
def _without_polls() -> Iterator[None]:
    """Leave out the check for a stop request, of which there is one per second of a real clock."""
    usual = leased_run.POLL_S
    leased_run.POLL_S = math.inf
    try:
        yield
    finally:
        leased_run.POLL_S = usual


def _resident_bytes() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _scalar(store: Store, sql: str) -> int:
    with store._database.reading() as connection:
        return int(connection.exec_driver_sql(sql).scalar_one())


def _rows(store: Store) -> dict[str, int]:
    counts = {name: _scalar(store, f'SELECT count(*) FROM "{name}"') for name in TABLES}
    return {name: count for name, count in counts.items() if count}


def _store_bytes(store: Store) -> int:
    """Return the bytes of all tables with their indexes, on a disk."""
    if (file := store._database.file) is not None:
        return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))
    return sum(_scalar(store, f"SELECT pg_total_relation_size('{name}')") for name in TABLES)


def _log_position(store: Store) -> int | None:
    if store._database.file is not None:
        return None
    return _scalar(store, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")


def _page(url: str) -> tuple[float, int]:
    """Return the seconds in which the page of the front reads the study, and the bytes it takes."""
    with closing(Store(url, read_only=True)) as store:
        begun = time.perf_counter()
        visible_points(read_study(store, NAME).table)
        seconds = time.perf_counter() - begun
        tracemalloc.start()
        view = read_study(store, NAME)
        visible_points(view.table)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return seconds, taken


def counted(fleet: Fleet) -> list[tuple[str, str, str]]:
    """Return the figures that are equal on any machine: name, per trial, of 100,000 trials."""
    per, work = fleet.trials, fleet.work
    lines = [("epochs", fleet.epochs / per, _count)]
    lines += [(f"rows of `{name}`", count / per, _count) for name, count in fleet.rows.items()]
    lines += [
        ("rows of all tables", sum(fleet.rows.values()) / per, _count),
        (f"bytes in {fleet.database}, indexes included", fleet.store_bytes / per, _size),
        ("transactions that write", work.counts["writes"] / per, _count),
        ("transactions that read", work.counts["reads"] / per, _count),
        ("SQL statements", work.counts["statements"] / per, _count),
        ("messages between driver and workers", work.counts["messages"] / per, _count),
        ("bytes of these messages, pickled", work.message_bytes / per, _size),
        ("memory of the driver", fleet.driver_bytes / per, _size),
        ("memory of the front's page", fleet.page_bytes / per, _size),
    ]
    if fleet.log_bytes is not None:
        place = next(k for k, line in enumerate(lines) if line[0].startswith("transactions"))
        lines.insert(place, ("bytes that the server writes ahead", fleet.log_bytes / per, _size))
    return [
        (name, shown(value), shown(value * STUDY_TRIALS))
        for name, value, shown in lines
        if value >= 0.1  # not the rows of the study itself
    ]


def timed(fleet: Fleet) -> list[tuple[str, str]]:
    """Return the figures of this machine: name and value."""
    served = fleet.wall_s / fleet.trials
    rate = (fleet.work.counts["writes"] + fleet.work.counts["reads"]) / fleet.wall_s
    points = fleet.trials * FAMILY
    return [
        (
            "processor time of the driver per trial",
            f"{1e3 * fleet.driver_cpu_s / fleet.trials:.1f} ms",
        ),
        ("whole time per trial, database included", f"{1e3 * served:.1f} ms"),
        ("median of single trials", f"{fleet.trial_ms:.1f} ms"),
        ("transactions per second, one driver at its limit", f"{rate:,.0f}"),
        ("trials per hour, one driver at its limit", f"{3600 / served:,.0f}"),
        (
            f"shortest trial that {fleet.workers} workers may have",
            f"{served * fleet.workers:.0f} s",
        ),
        (
            f"{STUDY_TRIALS:,} trials, one driver at its limit",
            f"{served * STUDY_TRIALS / 3600:.1f} h",
        ),
        ("front's page, per 100,000 operating points", f"{fleet.page_s / points * 1e5:.2f} s"),
    ]


def _count(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _size(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def markdown(fleet: Fleet) -> dict[str, str]:
    """Return the tables of docs/explanation/scale.md by their names there."""
    setting = f"{fleet.workers} workers, {fleet.trials:,} trials, {fleet.database}"
    first = ["| | per trial | 100,000 trials |", "| --- | --- | --- |"]
    first += [f"| {' | '.join(line)} |" for line in counted(fleet)]
    second = [f"| {machine()} | |", "| --- | --- |"]
    second += [f"| {' | '.join(line)} |" for line in timed(fleet)]
    return {
        "counted": "\n".join([f"Measured with {setting}.", "", *first]),
        "timed": "\n".join([f"Measured with {setting}.", "", *second]),
    }


def write(page: Path, tables: Mapping[str, str]) -> None:
    """Replace tables of a page, each between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        if not rest or not after:
            raise ValueError(f"{page}: must have {begin} and {end}")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    page.write_text(text, encoding="utf-8")


@contextmanager
def sqlite() -> Iterator[str]:
    """Yield the URL of a new SQLite file."""
    with tempfile.TemporaryDirectory(prefix="spikefront-fleet-") as folder:
        yield f"sqlite:///{folder}/store.db"
