"""Ten thousand trials in one study: what asking, recording and the front cost then.

A driver's driver runs a study to 10,000 trials, each of one epoch and 20
operating points over three objectives, in a process that does nothing else
(no Ray, an engine that trains nothing): for each trial the time of asking for
it, recording its epoch and its outcome, and bringing front and hypervolume up
to date. On SQLite trial by trial from 0; on PostgreSQL from 0 to the first
marks, and for the last one on a copy of the SQLite study. The sampler is
NSGA-II, which `auto` is from 2,000 trials on; what asking the others costs
is listed beside. `--postgres` names a database in which a schema is made and
dropped; without a server that answers there are no figures of it.
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
from benchmarks.stand_in import StandIn, study_text
from search.runners.driver import StudyDriver
from search.store.schema import Base
from search.store.store import Store
from search.study.study import study_from_toml
from search.trial.trial import Outcome
from search.worker.context import WorkerContext
from snn.settings.measurement import Measurement

POSTGRES = "postgresql+psycopg://postgres@localhost:5432/postgres"
MARKS, QUICK_MARKS = (100, 1_000, 10_000), (100, 300)
LAST = 100  # trials that a figure is the median of
AIM_MS = 100.0


def main() -> None:
    """Run it."""
    parser = arguments(__doc__ or "")
    default = os.environ.get("SPIKEFRONT_TEST_POSTGRES", POSTGRES)
    parser.add_argument("--postgres", default=default, metavar="URL", help="a database to use")
    parser.add_argument("--grow", nargs=2, metavar=("URL", "MARKS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grow:
        grow(options.grow[0], [int(mark) for mark in options.grow[1].split(",")])
        return
    marks = QUICK_MARKS if options.quick else MARKS
    report = Report("scale", against=("optuna", "sqlalchemy"), setting={"marks": marks})
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


def grow(url: str, marks: Sequence[int]) -> None:
    """Run the study to the last mark; a JSON line at each."""
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
    """One trial: its number, and the driver's seconds before, in and behind it."""
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


def resident_mb() -> float:
    """Memory of this process that is in RAM, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError("/proc/self/status has no VmRSS")


def in_a_process(url: str, marks: Sequence[int]) -> list[Mapping[str, Any]]:
    """What `grow` said of each mark."""
    words = [sys.executable, "-m", "benchmarks.scale", "--grow", url, ",".join(map(str, marks))]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def show(report: Report, store: str, marks: Sequence[Mapping[str, Any]]) -> None:
    """A line per mark."""
    for m in marks:
        report.line(
            f"{store}: {m['trials']} trials: {m['trial_ms']:.1f} ms a trial "
            f"(ask {m['ask_ms']:.1f}, record {m['record_ms']:.1f}, outcome and front "
            f"{m['finish_ms']:.1f}), front {m['front']}, {m['memory_mb']:.0f} MB"
        )


def publish(report: Report, grown: Sequence[Mapping[str, Any]], marks: Sequence[int]) -> None:
    """The figures of SQLite."""
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
    """The same at each mark."""
    for mark in grown:
        name = f"trial_ms_at_{mark['trials']}{suffix}"
        report.add(Figure(name=name, value=mark["trial_ms"], unit="ms", better="lower"))


def add_cost(
    report: Report, grown: Sequence[Mapping[str, Any]], trials: int, *, suffix: str = ""
) -> None:
    """Asking, recording, front and hypervolume together at the last mark."""
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
    """How long `spikefront run` takes to say that a study of that size is done."""
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
    """A schema of a PostgreSQL database, dropped behind it; its URL."""
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
    """All rows of a store into another one of the same version, in place of its own."""
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
