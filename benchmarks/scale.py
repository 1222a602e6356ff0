"""The driver's time per trial in a study of ten thousand trials, and on large fronts.

A study driver runs a study to 10,000 trials, each of one epoch and 20 operating points over
three objectives, in a process of its own (no Ray, an engine that trains nothing). Measured
for each trial: the time to ask for it, to record its epoch and its outcome, and to
update front and hypervolume. On SQLite from trial 0; on PostgreSQL from 0 to the first
marks, and for the last mark on a copy of the SQLite study. The sampler is NSGA-II, which
`auto` uses from 2,000 trials on. `--postgres` names a database in which a schema is created
and dropped; without a server there are no figures for it.

`hypervolume_ms_3`, `_4`, `_5`: the time to update front and hypervolume after a trial (median)
with so many objectives and 1,000 points on the front.

With `--workers N` instead: what a fleet of N workers costs, see `benchmarks.fleet`.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy

from benchmarks.report import Figure, Report, arguments
from benchmarks.stand_in import FAMILY, StandIn, study_text
from search.runners.driver import StudyDriver
from search.store.schema import Base
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome, TrialState
from search.worker.context import WorkerContext
from snn.settings.measurement import METRICS, Measurement

POSTGRES = "postgresql+psycopg://postgres@localhost:5432/postgres"
MARKS, QUICK_MARKS = (100, 1_000, 10_000), (100, 300)
LAST = 100  # trials that a figure is the median of
AIM_MS = 100.0
FRONT, QUICK_FRONT = 1_000, 200  # points on the front
OBJECTIVES = ("accuracy", "synaptic_ops", "model_bytes", "latency_steps", "training_memory_bytes")


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__ or "")
    default = os.environ.get("SPIKEFRONT_TEST_POSTGRES", POSTGRES)
    parser.add_argument("--postgres", default=default, metavar="URL", help="a database to use")
    parser.add_argument("--grow", nargs=2, metavar=("URL", "MARKS"), help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, metavar="N", help="measure a fleet of N workers")
    parser.add_argument(
        "--trials", type=int, metavar="N", help="trials of the fleet (default: four per worker)"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the fleet's tables into this page"
    )
    parser.add_argument(
        "--counts", action="store_true", help="with --page: only what is equal on any machine"
    )
    options = parser.parse_args()
    if options.workers:
        _fleet(options)
        return
    if options.grow:
        grow(options.grow[0], [int(mark) for mark in options.grow[1].split(",")])
        return
    marks = QUICK_MARKS if options.quick else MARKS
    report = Report("scale", against=("optuna", "sqlalchemy"), setting={"marks": marks})
    for count in (3, 4, 5):
        hypervolume(report, count, QUICK_FRONT if options.quick else FRONT)
    with tempfile.TemporaryDirectory(prefix="spikefront-scale-") as folder:
        url = f"sqlite:///{folder}/store.db"
        show(report, "SQLite", grown := in_a_process(url, marks))
        publish(report, grown, marks)
        finished(report, url, marks[-1])
        try:
            with a_schema(options.postgres) as other:
                low = in_a_process(other, marks[:-1])
                show(report, "PostgreSQL", low)
                add_table(report, low, suffix="_postgresql")
                copy(url, other)
                high = in_a_process(other, [marks[-1] + LAST])
                show(report, "PostgreSQL, study copied", high)
                add_cost(report, high, marks[-1], suffix="_postgresql")
        except sqlalchemy.exc.OperationalError as error:
            report.line(f"no PostgreSQL: {str(error.orig).splitlines()[0]}")
    report.show(as_json=options.json)


def _fleet(options: argparse.Namespace) -> None:
    """Measure a fleet; print its tables, and write them into the page."""
    from benchmarks import fleet

    trials = options.trials or 4 * options.workers
    report = Report("fleet", against=("sqlalchemy",), setting={"workers": options.workers})
    try:
        with a_schema(options.postgres) as url:
            found = fleet.run(url, workers=options.workers, trials=trials)
    except sqlalchemy.exc.OperationalError as error:
        report.line(f"no PostgreSQL, so on SQLite: {str(error.orig).splitlines()[0]}")
        with fleet.sqlite() as url:
            found = fleet.run(url, workers=options.workers, trials=trials)
    tables = fleet.markdown(found)
    print("\n\n".join(tables.values()))
    print(f"\nforeign load {report.foreign_load()} cores")
    if options.page is not None:
        fleet.write(options.page, {"counted": tables["counted"]} if options.counts else tables)


def grow(url: str, marks: Sequence[int]) -> None:
    """Run the study to the last mark; print a JSON line at each mark."""
    study = study_from_toml(study_text(trials=marks[-1], sampler="nsga2"))
    place = WorkerContext(data_dir=Path(), trainable=StandIn())
    spent: list[tuple[float, float, float]] = []
    begun = time.perf_counter()
    with (
        Store(url) as store,
        StudyDriver(study, store=store, artifacts=Path("artifacts")) as driver,
    ):
        entered = time.perf_counter() - begun
        while True:
            one = _trial(driver, place)
            if one is None:
                return
            number, *parts = one
            spent = [*spent[1 - LAST :], (parts[0], parts[1], parts[2])]
            if number + 1 in marks:
                asking, recording, finishing = map(statistics.median, zip(*spent, strict=True))
                mark = {
                    "trials": number + 1,
                    "entered_s": entered,
                    "ask_ms": asking * 1e3,
                    "record_ms": recording * 1e3,
                    "finish_ms": finishing * 1e3,
                    "trial_ms": statistics.median(map(sum, spent)) * 1e3,
                    "front": driver.progress().front_size,
                    "memory_mb": resident_mb(),
                }
                print(json.dumps(mark), flush=True)


def _trial(driver: StudyDriver, place: WorkerContext) -> tuple[int, float, float, float] | None:
    """Run one trial; return its number and the driver's seconds before, during and after it."""
    begun = time.perf_counter()
    job = driver.next()
    asking, recording, finishing = time.perf_counter() - begun, 0.0, 0.0
    if job is None:
        return None
    for message in place.run(job):
        begun = time.perf_counter()
        if isinstance(message, Outcome):
            driver.finish(job.number, message)
            finishing += time.perf_counter() - begun
        elif isinstance(message, Measurement):
            driver.record(job.number, message)
            recording += time.perf_counter() - begun
    return job.number, asking, recording, finishing


def hypervolume(report: Report, objectives: int, points: int) -> None:
    """Add the time to update a front of `points` points and its hypervolume after a trial."""
    names = OBJECTIVES[:objectives]
    text = study_text(trials=points // FAMILY + LAST // 5, sampler="random").replace(
        'objectives = ["accuracy", "synaptic_ops", "model_bytes"]',
        f"objectives = {json.dumps(names)}",
    )
    reference = ", ".join(f"{name} = 1.0" for name in names if METRICS[name].better == "lower")
    study = study_from_toml(f"{text}\nreference = {{ {reference} }}\n")
    spent: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(f"sqlite:///{folder}/store.db") as store,
        StudyDriver(study, store=store, artifacts=Path("artifacts")) as driver,
    ):
        front = driver._front
        add = front.add

        def timed(trial: int, state: TrialState, epochs: int) -> None:
            begun = time.perf_counter()
            add(trial, state, epochs)
            if front.front_size >= points:
                spent.append(time.perf_counter() - begun)

        front.add = timed  # type: ignore[method-assign]
        place = WorkerContext(data_dir=Path(), trainable=StandIn(front_of=names))
        while _trial(driver, place) is not None:
            pass
    milliseconds = statistics.median(spent) * 1e3
    report.line(f"{objectives} objectives, {points} points on the front: {milliseconds:.1f} ms")
    name = f"hypervolume_ms_{objectives}"
    report.add(Figure(name=name, value=milliseconds, unit="ms", better="lower", aim=AIM_MS))


def resident_mb() -> float:
    """Return the resident memory of this process, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError("/proc/self/status has no VmRSS")


def in_a_process(url: str, marks: Sequence[int]) -> list[Mapping[str, Any]]:
    """Run `grow` in a process of its own; return its lines."""
    words = [sys.executable, "-m", "benchmarks.scale", "--grow", url, ",".join(map(str, marks))]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def show(report: Report, store: str, marks: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each mark."""
    for m in marks:
        report.line(
            f"{store}: {m['trials']} trials: {m['trial_ms']:.1f} ms a trial "
            f"(ask {m['ask_ms']:.1f}, record {m['record_ms']:.1f}, outcome and front "
            f"{m['finish_ms']:.1f}), front {m['front']}, {m['memory_mb']:.0f} MB"
        )


def publish(report: Report, grown: Sequence[Mapping[str, Any]], marks: Sequence[int]) -> None:
    """Add the figures of SQLite."""
    add_cost(report, grown, marks[-1])
    low, high = grown[-2], grown[-1]
    report.add(
        Figure(
            name=f"driver_memory_growth_{low['trials']}_to_{high['trials']}",
            value=high["memory_mb"] / low["memory_mb"] - 1,
            unit="of the memory at the first",
            better="lower",
            aim=0.1,
        )
    )
    add_table(report, grown)


def add_table(report: Report, grown: Sequence[Mapping[str, Any]], *, suffix: str = "") -> None:
    """Add the time per trial at each mark."""
    for mark in grown:
        name = f"trial_ms_at_{mark['trials']}{suffix}"
        report.add(Figure(name=name, value=mark["trial_ms"], unit="ms", better="lower"))


def add_cost(
    report: Report, grown: Sequence[Mapping[str, Any]], trials: int, *, suffix: str = ""
) -> None:
    """Add the time of asking, recording, front and hypervolume at the last mark."""
    report.add(
        Figure(
            name=f"ask_record_front_ms_at_{trials}{suffix}",
            value=grown[-1]["trial_ms"],
            unit="ms",
            better="lower",
            aim=AIM_MS,
        )
    )


def finished(report: Report, url: str, trials: int) -> None:
    """Add the time that `spikefront run` takes for a study of that size that is done."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.toml")
        file.write_text(study_text(trials=trials, sampler="nsga2"))
        words = ["run", str(file), "--store", url, "--artifacts", folder]
        begun = time.perf_counter()
        command = [sys.executable, "-m", "search.commands.cli", *words]
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - begun
    name = f"finished_study_answers_s_at_{trials}"
    report.add(Figure(name=name, value=seconds, unit="s", better="lower"))


@contextlib.contextmanager
def a_schema(url: str) -> Iterator[str]:
    """Create a schema of a PostgreSQL database, yield its URL, and drop it."""
    parsed = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(parsed, isolation_level="AUTOCOMMIT")
    name = f"spikefront_scale_{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    options = {"options": f"-csearch_path={name}"}
    try:
        yield parsed.update_query_dict(options).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
        engine.dispose()


def copy(source: str, target: str) -> None:
    """Replace the rows of a store by those of another store of the same version."""
    with Store(source, read_only=True) as one, Store(target) as other:
        with one._database.reading() as reading, other._database.writing() as writing:
            for table in reversed(Base.metadata.sorted_tables):
                writing.execute(table.delete())
            for table in Base.metadata.sorted_tables:
                rows = reading.execution_options(yield_per=2_000).execute(table.select())
                for part in rows.mappings().partitions():
                    writing.execute(table.insert(), [dict(row) for row in part])
                if "id" in table.c:
                    sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                    newest = f"(SELECT COALESCE(MAX(id), 1) FROM {table.name})"
                    writing.exec_driver_sql(f"SELECT setval({sequence}, {newest})")
        with other._database.writing() as writing:
            writing.exec_driver_sql("ANALYZE")


if __name__ == "__main__":
    main()
