"""Opening a store: what cannot be opened is told in one line, and nothing is harmed."""

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import make_url, text

from search.commands import cli
from search.runners.lease import SECONDS
from search.store.database import Database, StoreError, file_of, with_limits
from search.store.schema import REVISION
from search.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with nothing in it."""
    path = tmp_path / "store.db"
    Database(f"sqlite:///{path}").close()
    return path


def tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(connection.execute(text("SELECT name FROM sqlite_master")).scalars())


def without_shared_memory(path: Path) -> None:
    """As in a read-only folder, also for the administrator: SQLite follows no link there."""
    Path(f"{path}-shm").symlink_to("nowhere/at-all")


@contextlib.contextmanager
def refused(match: str) -> Iterator[None]:
    with pytest.raises(StoreError, match=match) as refusal:
        yield
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("runs/store.db", r"store must be a URL like sqlite:///.*, got 'runs/store.db'"),
        ("", "store must be a URL like sqlite:///"),
        (
            "mysql://me:secret@host/x",
            r"store must be a URL like .*, got 'mysql://me:\*\*\*@host/x'",
        ),
        ("sqlit:///x.db", "got 'sqlit:///x.db'; did you mean 'sqlite'"),
        ("postgresql+psycopg2://host/x", r"; did you mean 'postgresql\+psycopg'"),
        ("postgresql://me:secret@host:port/x", r"got 'postgresql://me:\*\*\*@host:port/x'"),
        (
            "postgresql://me:se@cret@host/x",
            r"'postgresql://me:\*\*\*@host/x'; write @ .* as %40",
        ),
        ("postgresql://me:s@e@cret@host:port/x", r"got 'postgresql://me:\*\*\*@host:port/x'"),
        ("sqlite://", "sqlite:// must name a file after three slashes"),
        ("sqlite:///:memory:", "must name a file after three slashes"),
        ("sqlite://runs/store.db", "must name a file after three slashes"),
        ("sqlite:///x.db?timeout=3", "must have no options, got timeout"),
    ],
)
def test_a_url_that_names_no_store_is_reported(url: str, message: str) -> None:
    with refused(message):
        Database(url)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_reported(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    with refused(r"^sqlite:///.*notes.txt: file is not a database$"):
        Database(f"sqlite:///{path}", read_only=read_only)
    assert path.read_text() == "Dear diary, " * 100


@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_is_reported(tmp_path: Path, read_only: bool) -> None:
    with refused("must be a file, got a folder"):
        Database(f"sqlite:///{tmp_path}", read_only=read_only)


def test_a_file_in_the_way_of_the_folder_is_reported(path: Path) -> None:
    with refused("cannot be opened: Not a directory"):
        Database(f"sqlite:///{path}/below/store.db")


def test_a_store_that_is_missing_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "store.db"
    with refused(r"^no store at sqlite:///.*/runs/store.db: run a study first$"):
        Database(f"sqlite:///{path}", read_only=True)
    assert not path.parent.exists()


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store as the first version wrote it, with an epoch in it."""
    path = tmp_path / "older.db"
    monkeypatch.setattr("search.store.database.REVISION", "0001")
    Database(f"sqlite:///{path}").close()
    monkeypatch.undo()
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute(
            "INSERT INTO studies (name, question, toml, question_fingerprint, objectives, "
            "created_at, changed_at, revision, stop_requested) VALUES ('old', '', '', '', '[]', "
            "'2026-01-01 00:00:00', '2026-01-01 00:00:00', 1, 0)"
        )
        writer.execute(
            "INSERT INTO trials (study_id, number, state, params, reason, error, epochs_done, "
            "epochs_total, sampler_state) VALUES (1, 0, 'running', '{}', '', '', 1, 2, '{}')"
        )
        writer.execute(
            "INSERT INTO measurements (trial_id, block, epoch, epochs_done, epochs_total, loss, "
            "regrown, training_memory_bytes) VALUES (1, 0, 1, 1, 2, 0.5, 7, 100)"
        )
        writer.commit()
    return path


def test_an_older_store_is_not_migrated_by_reading(older: Path) -> None:
    remedy = rf"bring it up to date: spikefront upgrade --store sqlite:///{older}$"
    with refused(rf"was written by an older spikefront \(schema 0001\); {remedy}"):
        Database(f"sqlite:///{older}", read_only=True)


def test_an_older_store_is_migrated_by_one_command_and_loses_nothing(
    older: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{older}"
    for said in ("", ", as before"):
        assert cli.main(["upgrade", "--store", url]) == 0
        assert capsys.readouterr().out == f"{url}: schema {REVISION}{said}\n"
    with Store(url, read_only=True) as store:
        (measurement,) = store.measurements("old", 0)
        trial = store.trial("old", 0)
    assert (measurement.loss, measurement.regrown, measurement.layers) == (0.5, 7, ())
    assert (measurement.is_reused, trial.epochs_done, trial.epochs_reused) == (False, 1, 0)
    database = Database(f"sqlite:///{older}", read_only=True)
    assert "pareto_front" in tables(database)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_server_that_refuses_is_reported_without_the_password(read_only: bool) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql://me:secret@127.0.0.1:1/x?password=hidden"
    with refused(r"^postgresql://me:\*\*\*@127.0.0.1:1/x\?password=\*\*\*: .*refused") as _:
        Database(url, read_only=read_only)
    with pytest.raises(StoreError) as refusal:
        Database(url)
    assert "secret" not in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_a_server_that_a_cut_link_hides_is_given_up_before_a_lease_ends() -> None:
    """TCP alone waits a quarter of an hour for an answer; what the URL says counts."""
    own = "?tcp_user_timeout=500&keepalives_idle=3"
    usual, given = (with_limits(make_url(f"postgresql://u@h/x{more}")) for more in ("", own))
    assert int(str(usual.query["tcp_user_timeout"])) / 1000 < SECONDS / 2
    spent = [int(str(usual.query[f"keepalives_{each}"])) for each in ("idle", "interval", "count")]
    assert spent[0] + spent[1] * spent[2] < SECONDS / 2
    assert (given.query["tcp_user_timeout"], given.query["keepalives_idle"]) == ("500", "3")


def test_a_driver_that_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with refused(r"postgresql://host/x needs psycopg: pip install 'spikefront\[postgres\]'"):
        Database("postgresql://host/x")


def test_reading_changes_no_byte(path: Path) -> None:
    before = path.read_bytes()
    database = Database(f"sqlite:///{path}", read_only=True)
    assert "pareto_front" in tables(database)
    with refused("is open for reading only"), database.writing():
        pass
    database.close()
    assert path.read_bytes() == before


def test_the_database_itself_refuses_what_a_reader_writes(path: Path) -> None:
    database = Database(f"sqlite:///{path}", read_only=True)
    with refused("attempt to write a readonly database"), database.reading() as connection:
        connection.execute(text("DELETE FROM studies"))


def test_a_store_is_read_where_nothing_can_be_written(path: Path) -> None:
    without_shared_memory(path)
    database = Database(f"sqlite:///{path}", read_only=True)
    assert "pareto_front" in tables(database)


def test_changes_that_cannot_be_read_are_reported(path: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("CREATE TABLE newest (id INTEGER)")
        writer.commit()
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    without_shared_memory(copy)
    with refused("copy.db-wal cannot be read without write access to its folder"):
        Database(f"sqlite:///{copy}", read_only=True)


def test_a_url_below_the_home_folder_makes_no_folder_named_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Database("sqlite:///~/q.db").close()
    assert (tmp_path / "home" / "q.db").is_file()
    assert file_of("sqlite:///~/q.db") == tmp_path / "home" / "q.db"
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TABLE studies (id INTEGER)", "holds tables of another program"),
        (
            "CREATE TABLE spikefront_version AS SELECT '9999' AS version_num",
            "was written by a newer spikefront",
        ),
    ],
)
def test_a_refused_file_is_not_changed(tmp_path: Path, statement: str, message: str) -> None:
    """It was switched to WAL before it was refused."""
    path = tmp_path / "theirs.db"
    with contextlib.closing(sqlite3.connect(path)) as theirs:
        theirs.execute(statement)
        theirs.commit()
    before = path.read_bytes()
    with refused(message):
        Database(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["theirs.db"]


def test_a_file_shared_with_another_program_keeps_its_journal_mode(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    with contextlib.closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE theirs (id INTEGER)")
        theirs.commit()
    for _ in range(2):  # also when the tables of the store are there
        database = Database(f"sqlite:///{path}")
        assert {"theirs", "studies"} <= tables(database)
        with database.reading() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
        database.close()


def test_waiting_for_a_locked_store_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("search.store.sqlite_file.QUIET_S", 0)
    database = Database(f"sqlite:///{path}")
    locked = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")

    def unlock() -> None:
        while not caplog.records:
            time.sleep(0.01)
        locked.execute("ROLLBACK")

    release = threading.Thread(target=unlock)
    with caplog.at_level(logging.WARNING, "spikefront"):
        release.start()
        with database.writing() as connection:
            connection.execute(text("DELETE FROM studies"))
        release.join()
    locked.close()
    [record] = caplog.records
    assert (
        record.getMessage()
        == f"sqlite:///{path} is locked by another process; waiting 30 s at most"
    )


def locked_exclusively(path: Path) -> sqlite3.Connection:
    """Lock a store against readers, too: a mode of SQLite that other programs may use."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")  # the lock stays
    return connection


@pytest.mark.parametrize("is_open", [False, True], ids=["opened", "read"])
def test_a_reader_of_an_exclusively_locked_store_says_that_it_waits_and_reads_when_it_is_free(
    path: Path, is_open: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("search.store.sqlite_file.QUIET_S", 0)
    store = Store(f"sqlite:///{path}", read_only=True) if is_open else None
    locked = locked_exclusively(path)

    def unlock() -> None:
        while not caplog.records:
            time.sleep(0.01)
        locked.close()

    release = threading.Thread(target=unlock)
    with caplog.at_level(logging.WARNING, "spikefront"):
        release.start()
        with store or Store(f"sqlite:///{path}", read_only=True) as opened:
            assert opened.study_summaries() == []
        release.join()
    [record] = caplog.records
    assert record.getMessage() == (
        f"sqlite:///{path} is locked by another process; waiting 30 s at most"
    )


@pytest.mark.parametrize(
    "words",
    [["studies"], ["front", "small"], ["show", "small", "0"], ["status", "small"]],
    ids=" ".join,
)
def test_a_command_that_reads_a_locked_store_ends_with_a_line(
    path: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("search.store.sqlite_file.QUIET_S", 0)
    monkeypatch.setattr("search.store.sqlite_file.BUSY_S", 0.05)
    with contextlib.closing(locked_exclusively(path)):
        assert cli.main([*words, "--store", f"sqlite:///{path}"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"spikefront: warning: sqlite:///{path} is locked by another process; waiting 0 s at most",
        f"spikefront: sqlite:///{path} is locked by another process; try again when it has ended",
    ]


@pytest.mark.parametrize("read_only", [True, False])
def test_a_locked_store_is_waited_for_once(
    path: Path, read_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = SimpleNamespace(monotonic=lambda: now, sleep=sleep)
    monkeypatch.setattr("search.store.sqlite_file.time", clock)
    monkeypatch.setattr("search.store.sqlite_file.QUIET_S", 0)
    monkeypatch.setattr("search.store.sqlite_file.BUSY_S", 0.5)
    with (
        contextlib.closing(locked_exclusively(path)),
        refused("is locked by another process; try again when it has ended"),
    ):
        Database(f"sqlite:///{path}", read_only=read_only)
    assert 0.5 < now < 0.6


def as_user(user: int, action: Callable[[], None]) -> None:
    """Carry out `action` in a process of another user."""
    process = os.fork()
    if process == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setgid(user)
            os.setuid(user)
            action()
            code = 0
        os._exit(code)
    assert os.waitpid(process, 0)[1] == 0


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as two other users")
OWNER, READER = 54321, 54322


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may write, below /tmp itself: those of pytest are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@needs_root
def test_reading_the_store_of_another_user_leaves_no_file_that_locks_its_owner_out(
    shared_folder: Path,
) -> None:
    url = f"sqlite:///{shared_folder}/store.db"
    as_user(OWNER, lambda: Store(url).close())

    def read() -> None:
        with Store(url, read_only=True) as store:
            assert store.study_summaries() == []

    def write() -> None:
        with Store(url) as store, store._database.writing() as connection:
            connection.execute(text("DELETE FROM studies"))

    as_user(READER, read)
    assert [path.name for path in shared_folder.iterdir()] == ["store.db"]
    as_user(OWNER, write)


@needs_root
def test_files_of_another_user_beside_the_store_are_named_with_the_remedy(
    shared_folder: Path,
) -> None:
    path = shared_folder / "store.db"
    url = f"sqlite:///{path}"
    as_user(OWNER, lambda: Store(url).close())
    for part in ("wal", "shm"):  # as a reader of an earlier version left them
        beside = path.with_name(f"store.db-{part}")
        beside.touch()
        os.chown(beside, READER, READER)
        beside.chmod(0o644)

    def write() -> None:
        store = Store(url)
        message = "store.db-wal and store.db-shm of another user cannot be written; delete"
        with refused(message), store._database.writing():
            pass

    as_user(OWNER, write)


def test_a_path_with_odd_letters_is_a_path(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/100% #1 µ/store.db"
    Database(url).close()
    assert (tmp_path / "100% #1 µ" / "store.db").is_file()
    assert "pareto_front" in tables(Database(url, read_only=True))


def test_a_migration_begins_without_foreign_keys_and_leaves_them_on(path: Path) -> None:
    pragma = text("PRAGMA foreign_keys")
    database = Database(f"sqlite:///{path}")
    with database.migrating() as config:
        assert config.attributes["connection"].execute(pragma).scalar() == 0
    with database.writing() as connection:
        assert connection.execute(pragma).scalar() == 1
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1


def test_a_store_at_the_newest_schema_opens_without_alembic(path: Path) -> None:
    script = (
        "import sys\n"
        "from search.store.store import Store\n"
        f"Store('sqlite:///{path}').study_summaries()\n"
        f"Store('sqlite:///{path}', read_only=True).study_summaries()\n"
        "heavy = {'alembic', 'torch', 'optuna', 'ray', 'numpy', 'pandas'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    root = Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_two_processes_that_open_a_fresh_file_both_succeed(tmp_path: Path) -> None:
    script = f"from search.store.store import Store; Store('sqlite:///{tmp_path}/new/store.db')"
    root = Path(__file__).parents[3]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, cwd=root
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
