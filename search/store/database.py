"""A database opened by URL: at the newest schema, with transactions and one-line errors.

SQLite in WAL mode serves one machine, PostgreSQL (psycopg 3) serves teams. A write transaction
takes the lock of SQLite at its start, so that readers do not block it; a read transaction sees
one moment of the database.
"""

import contextlib
import datetime
import functools
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, exc, func, select, text
from sqlalchemy.pool import NullPool

from search.store.schema import REVISION, VERSION_TABLE, Base
from search.store.sqlite_file import begin, connect, connect_read_only, connect_uri, is_busy
from search.text import log
from search.text.urls import masked
from snn.settings.config import nearest
from snn.settings.user_folders import expanded

if TYPE_CHECKING:
    from alembic.config import Config


LOG = log.logger("store")

SCHEMES = ("sqlite", "sqlite+pysqlite", "postgresql", "postgres", "postgresql+psycopg")
EXAMPLES = "sqlite:///runs/spikefront.db or postgresql://user@host/name"
MIGRATIONS = Path(__file__).parent / "migrations"
# Of a host that a cut link hides, TCP alone would wait a quarter of an hour for an answer, longer
# than a lease lasts; libpq's parameters, which the URL may set.
CONNECTION = {
    "connect_timeout": "10",  # seconds, as the next two
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # milliseconds that sent data may stay unacknowledged
}
MIGRATION_LOCK = 0x5F1CEF  # key of the PostgreSQL advisory lock of migrations

_ONE_MIGRATION = threading.Lock()  # Alembic keeps its context in a module


class StoreError(ValueError):
    """A store that cannot be opened, or a request that it cannot fulfil; one line."""


class StoreGoneError(StoreError):
    """A store that does not respond now, but may respond later."""


class OtherVersionError(StoreError):
    """A store of an older or newer version of spikefront."""


class AlreadyError(StoreError):
    """The rows to be stored exist already."""


def with_limits(url: URL) -> URL:
    """Return the URL of a server with those limits on waiting that it does not name itself."""
    return url.update_query_dict({n: v for n, v in CONNECTION.items() if n not in url.query})


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
        self.file = Path(parsed.database or "") if self._is_sqlite else None
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

    def now(self, connection: Connection) -> datetime.datetime:
        """Return the time of the database: of the server, or with SQLite of this machine."""
        if self._is_sqlite:
            return datetime.datetime.now(datetime.UTC)
        found: datetime.datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found.astimezone(datetime.UTC)

    @property
    def has_clock(self) -> bool:
        """Return whether all users of the database share its clock, even from other machines."""
        return not self._is_sqlite

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the database."""
        options: dict[str, Any] = {"store": self.name}
        if not self._is_sqlite:
            options["isolation_level"] = "REPEATABLE READ"
        with (
            self._errors(),
            self._engine.connect() as connection,
            connection.execution_options(**options).begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is committed completely or not at all."""
        if self.is_read_only:
            raise StoreError(f"{self.name} is open for reading only")
        with (
            self._errors(),
            self._engine.connect() as connection,
            connection.execution_options(is_writing=True, store=self.name).begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> "Iterator[Config]":
        """Yield the Alembic configuration, in a transaction that excludes other migrations."""
        from alembic.config import Config

        with self._engine.connect() as connection:
            if self._is_sqlite:  # copying a table must not delete referencing rows
                connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
            with connection.execution_options(is_writing=True, store=self.name).begin():
                if not self._is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                config = Config(attributes={"connection": connection})
                config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
                yield config
            connection.invalidate()  # the next connection enforces foreign keys

    def _make_engine(self, url: URL) -> Engine:
        if not self._is_sqlite:
            return self._make_postgres_engine(url)
        path = self._sqlite_file(url)
        if self.is_read_only:  # new connections: the way to read can change
            engine = sqlalchemy.create_engine(
                url,
                creator=lambda: connect_read_only(path, self.name),
                poolclass=NullPool,
                json_deserializer=_from_json,
            )
        else:
            if path.is_file() and path.stat().st_size:
                self._check_untouched(path)
            engine = sqlalchemy.create_engine(
                url, creator=lambda: connect(path, self.name), json_deserializer=_from_json
            )
        event.listen(engine, "begin", begin)
        return engine

    def _check_untouched(self, path: Path) -> None:
        """Raise StoreError for a file of another program or newer version, without writing it."""
        has_changes = path.with_name(f"{path.name}-wal").exists()
        options = "mode=ro" if has_changes else "mode=ro&immutable=1"
        engine = sqlalchemy.create_engine(
            "sqlite://", creator=lambda: connect_uri(path, options, self.name), poolclass=NullPool
        )
        try:
            with engine.connect() as connection:
                revision = _revision(connection)
                self._refuse_newer(revision)
                if revision is None:
                    self._refuse_strangers(connection)
        except exc.DatabaseError as error:
            if is_busy(error):  # after BUSY_S: no second wait
                raise
            # Another process may be writing: then opening for writing finds the same, or an error.

    def _foreign_files(self, error: exc.StatementError) -> str | None:
        """Return a message if files beside the store belong to another user."""
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if self.file is None or self.is_read_only or code != sqlite3.SQLITE_READONLY:
            return None
        beside = [self.file.with_name(f"{self.file.name}-{part}") for part in ("wal", "shm")]
        locked = [path for path in beside if path.exists() and not os.access(path, os.W_OK)]
        if not locked or not os.access(self.file, os.W_OK):
            return None
        names = " and ".join(path.name for path in locked)
        if beside[0].exists() and beside[0].stat().st_size:
            return f"{self.name}: {names} of another user cannot be written; change their owner"
        return (
            f"{self.name}: {names} of another user cannot be written; delete them while no other "
            "process uses the store (they hold no data)"
        )

    def _make_postgres_engine(self, url: URL) -> Engine:
        url = url.set(drivername="postgresql+psycopg")
        url = with_limits(url)
        try:
            return sqlalchemy.create_engine(
                url,
                pool_pre_ping=True,
                json_deserializer=_from_json,
                execution_options={"postgresql_readonly": self.is_read_only},
            )
        except ImportError as error:  # of psycopg or libpq
            from search.text.requirements import install_part

            raise StoreError(f"{self.name} needs psycopg: {install_part('postgres')}") from error

    def _sqlite_file(self, url: URL) -> Path:
        """Return the file of the URL; creates its folder unless read-only."""
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
        """Migrate to the newest schema. Alembic is slow to import, so only if needed."""
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
                f"bring it up to date: spikefront upgrade --store {self.name}"
            )
        with _ONE_MIGRATION, self.migrating() as config:
            self._migrate(config)

    def _migrate(self, config: "Config") -> None:
        from alembic import command

        connection: Connection = config.attributes["connection"]
        revision = _revision(connection)  # another process may have migrated
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
        except FileNotFoundError as error:  # removed after the store was opened
            raise StoreError(self._nothing_there) from error
        except exc.StatementError as error:
            if self.is_read_only and self.file is not None and not self.file.is_file():
                raise StoreError(self._nothing_there) from error
            if (hint := self._foreign_files(error)) is not None:
                raise StoreError(hint) from error
            if is_busy(error):
                message = f"{self.name} is locked by another process; try again when it has ended"
                raise StoreGoneError(message) from error
            lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            kind = StoreGoneError if _may_come_back(error) else StoreError
            raise kind(f"{self.name}: {lines[0]}") from error


# error codes for a locked file, a full disk and a missing disk
_SQLITE_PASSES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
)
# classes of SQLSTATE: connection, transaction conflict, resources, operator, system
_POSTGRES_PASSES = ("08", "40", "53", "57", "58")


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for KeyboardInterrupt while a connection is closed."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, KeyboardInterrupt)


def is_store(url: str) -> bool:
    """Return whether there is a store of any version at a URL; changes nothing."""
    try:
        Database(url, read_only=True).close()
    except StoreError as error:
        return isinstance(error, OtherVersionError)
    return True


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite store; None for a server. Raises StoreError."""
    parsed = _parse(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _may_come_back(error: exc.StatementError) -> bool:
    """Return whether the same transaction may succeed later."""
    if not isinstance(error, exc.DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSES
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # not from a server
        return error.connection_invalidated or isinstance(error, exc.OperationalError)
    return str(state)[:2] in _POSTGRES_PASSES


def _parse(url: str) -> URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        message = f"store must be a URL like {EXAMPLES}, got {masked(url)!r}"
        raise StoreError(message) from error
    if url.count("@") > 1 and not url.startswith("sqlite"):
        raise StoreError(
            f"store must be a URL like {EXAMPLES}, got {masked(url)!r}; write @ in a user name "
            "or password as %40"
        )
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
    if parsed.database.startswith("~"):
        try:
            return parsed.set(database=str(expanded(parsed.database)))
        except OSError as error:
            raise StoreError(f"{_shown(parsed)}: {error.strerror or error}") from error
    return parsed


def _shown(url: URL) -> str:
    return masked(url.render_as_string(hide_password=False))


def _revision(connection: Connection) -> str | None:
    """Return the schema revision of the database; None if it is no store."""
    if not sqlalchemy.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def _from_json(text: str | bytes) -> Any:
    return _tuple_from_json(text) if text[:1] in ("[", b"[") else json.loads(text)


@functools.lru_cache(maxsize=4096)
def _tuple_from_json(text: str | bytes) -> tuple[Any, ...]:
    """Parse a JSON list; cached, because many points have the same exit thresholds."""
    return tuple(json.loads(text))
