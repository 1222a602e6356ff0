"""A database opened by URL: at the newest schema, in transactions, with errors for people.

SQLite in WAL mode on one machine, PostgreSQL (psycopg 3) for teams. A write
transaction takes SQLite's lock at its start, so that no reader is ever in the
way of it; a read transaction sees one moment of the database.
"""

import contextlib
import functools
import json
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, exc, text
from sqlalchemy.pool import NullPool

from search.store.schema import REVISION, VERSION_TABLE, Base
from search.text import log
from snn.settings.config import nearest

if TYPE_CHECKING:
    from alembic.config import Config

LOG = log.logger("store")

SCHEMES = ("sqlite", "sqlite+pysqlite", "postgresql", "postgres", "postgresql+psycopg")
EXAMPLES = "sqlite:///runs/spikefront.db or postgresql://user@host/name"
MIGRATIONS = Path(__file__).parent / "migrations"
CONNECT_S = 10
BUSY_S = 30  # how long a process waits for another one's transaction
MIGRATION_LOCK = 0x5F1CEF  # of PostgreSQL's advisory locks, the one that migrations take

_ONE_MIGRATION = threading.Lock()  # Alembic keeps its context in a module


class StoreError(ValueError):
    """A store that cannot be opened, or that cannot do what was asked; one line."""


class StoreGoneError(StoreError):
    """A store that does not answer now, and may do so later."""


class OtherVersionError(StoreError):
    """A store of an older spikefront, or of a newer one."""


class AlreadyError(StoreError):
    """What was to be kept is kept already."""


class Database:
    """Read and write transactions on the database of a URL.

    Opening for writing creates the file and its folder, and migrates. Raises
    StoreError in one line, without passwords.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        parsed = _parse(url)
        self.name = _shown(parsed)  # the URL, for messages
        self.is_read_only = read_only
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        self._file = Path(parsed.database or "") if self._is_sqlite and read_only else None
        with self._errors():
            self._engine = self._make_engine(parsed)
            pool = type(self._engine.pool)
            logging.getLogger(f"{pool.__module__}.{pool.__qualname__}").addFilter(_is_news)
            try:
                self._open()
            except BaseException:
                self._engine.dispose()
                raise

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database."""
        options: dict[str, Any] = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with (
            self._errors(),
            self._engine.connect() as connection,
            connection.execution_options(**options).begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is kept as a whole, or not at all."""
        if self.is_read_only:
            raise StoreError(f"{self.name} is open for reading only")
        with (
            self._errors(),
            self._engine.connect() as connection,
            connection.execution_options(is_writing=True).begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> "Iterator[Config]":
        """What Alembic needs, on a transaction that holds every other migration off."""
        from alembic.config import Config

        with self._engine.connect() as connection:
            if self._is_sqlite:  # a table that is copied must not take its rows' children along
                connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
            with connection.execution_options(is_writing=True).begin():
                if not self._is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                config = Config(attributes={"connection": connection})
                config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
                yield config
            connection.invalidate()  # the next one has its foreign keys again

    def _make_engine(self, url: URL) -> Engine:
        if not self._is_sqlite:
            return self._make_postgres_engine(url)
        path = self._sqlite_file(url)
        if self.is_read_only:  # a connection each: which way it may read can change, see there
            engine = sqlalchemy.create_engine(
                url,
                creator=lambda: _connect_read_only(path),
                poolclass=NullPool,
                json_deserializer=_from_json,
            )
        else:
            engine = sqlalchemy.create_engine(
                url, creator=lambda: _connect(path), json_deserializer=_from_json
            )
        event.listen(engine, "begin", _begin)
        return engine

    def _make_postgres_engine(self, url: URL) -> Engine:
        url = url.set(drivername="postgresql+psycopg")
        if "connect_timeout" not in url.query:
            url = url.update_query_dict({"connect_timeout": str(CONNECT_S)})
        try:
            return sqlalchemy.create_engine(
                url,
                pool_pre_ping=True,
                json_deserializer=_from_json,
                execution_options={"postgresql_readonly": self.is_read_only},
            )
        except ImportError as error:  # of psycopg, or of the library that it needs
            message = f"{self.name} needs psycopg: pip install 'spikefront[postgres]'"
            raise StoreError(message) from error

    def _sqlite_file(self, url: URL) -> Path:
        """The file of the URL, its folder made when it may be."""
        path = Path(url.database or "")
        try:
            if path.is_dir():
                raise StoreError(f"{self.name} must be a file, got a folder")
            if self.is_read_only and not path.is_file():
                raise StoreError(self._nothing_there)
            if not self.is_read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.name} cannot be opened: {error.strerror}") from error
        return path

    @property
    def _nothing_there(self) -> str:
        return f"no store at {self.name}: run a study first"

    def _open(self) -> None:
        """To the newest schema. Alembic is slow to import: only where there is work for it."""
        with self._engine.connect() as connection:
            revision = _revision(connection)
        if revision == REVISION:
            return
        self._refuse_newer(revision)
        if self.is_read_only and revision is None:
            raise StoreError(self._nothing_there)
        if self.is_read_only:
            raise OtherVersionError(
                f"{self.name} was written by an older spikefront (schema {revision}); "
                "open it for writing once (spikefront run), or name another store"
            )
        with _ONE_MIGRATION, self.migrating() as config:
            self._migrate(config)

    def _migrate(self, config: "Config") -> None:
        from alembic import command

        connection: Connection = config.attributes["connection"]
        revision = _revision(connection)  # another process may have been first
        self._refuse_newer(revision)
        if revision is None:
            self._refuse_strangers(connection)
        if revision != REVISION:
            LOG.info("%s: schema %s becomes %s", self.name, revision or "none", REVISION)
            command.upgrade(config, REVISION)

    def _refuse_newer(self, revision: str | None) -> None:
        known = {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py")}
        if revision is not None and revision not in known:
            raise OtherVersionError(
                f"{self.name} was written by a newer spikefront (schema {revision}); "
                "update spikefront, or name another store"
            )

    def _refuse_strangers(self, connection: Connection) -> None:
        taken = sorted(
            set(sqlalchemy.inspect(connection).get_table_names()) & set(Base.metadata.tables)
        )
        if taken:
            raise StoreError(
                f"{self.name} holds tables of another program ({', '.join(taken)}); "
                "name another store"
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except exc.StatementError as error:
            if self._file is not None and not self._file.is_file():
                raise StoreError(self._nothing_there) from error
            lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            kind = StoreGoneError if _may_come_back(error) else StoreError
            raise kind(f"{self.name}: {lines[0]}") from error


# what SQLite says of a file that is locked, on a disk that is full, or on one that is not there
_SQLITE_PASSES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
)
# classes of SQLSTATE: connection, conflict between transactions, resources, operator, system
_POSTGRES_PASSES = ("08", "40", "53", "57", "58")


def _is_news(record: logging.LogRecord) -> bool:
    """Not of a second Ctrl-C that falls into the closing of a connection."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, KeyboardInterrupt)


def is_store(url: str) -> bool:
    """Whether there is a store at a URL, of whatever version; changes nothing there."""
    try:
        Database(url, read_only=True).close()
    except StoreError as error:
        return isinstance(error, OtherVersionError)
    return True


def file_of(url: str) -> Path | None:
    """The file of a store in SQLite; None for one on a server. Raises StoreError."""
    parsed = _parse(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _may_come_back(error: exc.StatementError) -> bool:
    """Whether the same may succeed later, without anything being done differently."""
    if not isinstance(error, exc.DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSES
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # no server said so
        return error.connection_invalidated or isinstance(error, exc.OperationalError)
    return str(state)[:2] in _POSTGRES_PASSES


def _parse(url: str) -> URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        masked = re.sub(r":[^:@/]*@", ":***@", url)
        message = f"store must be a URL like {EXAMPLES}, got {masked!r}"
        raise StoreError(message) from error
    if parsed.drivername not in SCHEMES:
        hint = nearest(parsed.drivername, SCHEMES)
        message = f"store must be a URL like {EXAMPLES}, got {_shown(parsed)!r}"
        raise StoreError(message + hint)
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if parsed.host or not parsed.database or parsed.database.startswith((":memory:", "file:")):
        message = "must name a file after three slashes, like sqlite:///runs/spikefront.db"
        raise StoreError(f"{_shown(parsed)} {message}")
    if parsed.query:
        raise StoreError(f"{_shown(parsed)} must have no options, got {', '.join(parsed.query)}")
    return parsed


def shown_url(url: str) -> str:
    """Return the URL of a store without its password. Raises StoreError."""
    return _shown(_parse(url))


def _shown(url: URL) -> str:
    return url.difference_update_query(["password"]).render_as_string(hide_password=True)


def _revision(connection: Connection) -> str | None:
    """The migration that the database is at, None when it never was a store."""
    if not sqlalchemy.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are begun by `_begin`; the pool hands connections from thread to thread.
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Once per file; SQLite does not wait here for another process that is at it."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """Reads a file that may not be written, in a folder that may not be either.

    In WAL mode SQLite needs `-shm` beside the file, made by any writer or by
    the reader. Where it can do neither, nobody writes: the file is read as it
    is, unless the newest changes lie beside it.
    """
    try:
        return _connect_uri(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        ):
            raise
        changes = path.with_name(f"{path.name}-wal")
        if changes.exists() and changes.stat().st_size > 0:
            message = f"{changes.name} cannot be read without write access to its folder"
            raise sqlite3.OperationalError(message) from error
        return _connect_uri(path, "mode=ro&immutable=1")


def _connect_uri(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _begin(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get("is_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _from_json(text: str | bytes) -> Any:
    return _tuple_from_json(text) if text[:1] in ("[", b"[") else json.loads(text)


@functools.lru_cache(maxsize=4096)
def _tuple_from_json(text: str | bytes) -> tuple[Any, ...]:
    """The points of a study have few different exit thresholds, and are many."""
    return tuple(json.loads(text))
