"""Connections to an SQLite file, which other processes may write, lock or own."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, exc

from search.store.schema import VERSION_TABLE, Base
from search.text import log

LOG = log.logger("store")
T = TypeVar("T")

BUSY_S = 30  # how long a process waits for a transaction of another one
QUIET_S = 2  # of these, without a message
_FIRST_READ = "PRAGMA schema_version"  # begins a read transaction


def connect(path: Path, name: str) -> sqlite3.Connection:
    """Open a file for writing; its messages call it `name`."""
    # `begin` starts transactions; the pool uses connections from several threads.
    connection = sqlite3.connect(
        path, timeout=QUIET_S, isolation_level=None, check_same_thread=False
    )
    try:
        if _while_locked(lambda: _is_alone(connection), name):
            _while_locked(lambda: connection.execute("PRAGMA journal_mode = WAL"), name)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_alone(connection: sqlite3.Connection) -> bool:
    """Return whether no other program has tables in the file; its journal mode then is ours."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = {name for (name,) in connection.execute(query)}
    return tables <= {VERSION_TABLE, *Base.metadata.tables}


def _while_locked(action: Callable[[], T], name: str) -> T:
    """Return the result of `action`, repeated while another process has locked the file.

    For at most BUSY_S, and with a message after QUIET_S: SQLite itself would wait without one.
    """
    begun, is_silent = time.monotonic(), True
    while True:
        try:
            return action()
        except (sqlite3.OperationalError, exc.OperationalError) as error:
            waited = time.monotonic() - begun
            if not is_busy(error) or waited > BUSY_S:
                raise
            if is_silent and waited > QUIET_S:
                is_silent = False
                LOG.warning("%s is locked by another process; waiting %d s at most", name, BUSY_S)
        time.sleep(0.01)


def is_busy(error: BaseException) -> bool:
    """Return whether another process has locked the file."""
    found = error.orig if isinstance(error, exc.StatementError) else error
    return getattr(found, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def connect_read_only(path: Path, name: str) -> sqlite3.Connection:
    """Open a file for reading that perhaps cannot be written, nor its folder.

    In WAL mode SQLite needs `-shm` beside the file, created by a writer or the reader. If
    neither can, nobody writes, and the file alone is read, unless `-wal` has changes. The same
    for a file of another user that nobody writes: `-shm` of this user would lock its owner out.
    """
    changes = path.with_name(f"{path.name}-wal")
    is_ours = not hasattr(os, "geteuid") or os.geteuid() in (0, path.stat().st_uid)
    if not is_ours and not changes.exists():
        return connect_uri(path, "mode=ro&immutable=1", name)
    try:
        return connect_uri(path, "mode=ro", name)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        ):
            raise
        if changes.exists() and changes.stat().st_size > 0:
            message = f"{changes.name} cannot be read without write access to its folder"
            raise sqlite3.OperationalError(message) from error
        return connect_uri(path, "mode=ro&immutable=1", name)


def connect_uri(path: Path, options: str, name: str) -> sqlite3.Connection:
    """Open a file for reading, with options of SQLite's URI."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=QUIET_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _while_locked(lambda: connection.execute(_FIRST_READ).fetchone(), name)
    except BaseException:
        connection.close()
        raise
    return connection


def begin(connection: Connection) -> None:
    """Take the lock of a transaction: later statements of it wait for no other process."""
    options = connection.get_execution_options()
    name = options.get("store", "")
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {QUIET_S * 1000}")
    if options.get("is_writing", False):
        _while_locked(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), name)
    else:
        connection.exec_driver_sql("BEGIN")
        _while_locked(lambda: connection.exec_driver_sql(_FIRST_READ).first(), name)
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_S * 1000}")
