"""The log of a driver and its workers, in the standard library's logging.

All loggers are below one, `spikefront`. stderr shows records from the requested level
(default: warning); a log file also gets INFO records and warnings of libraries. Records of
workers are sent with their messages, also from other machines. Records after the last message
of a worker that dies are lost.
"""

import contextlib
import contextvars
import logging
import os
import queue
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = "spikefront"
VARIABLE = "SPIKEFRONT_LOG"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
SHOWN = {"is_shown": True}  # `extra` of records that are also shown as progress or output

_about: contextvars.ContextVar[str] = contextvars.ContextVar("about", default="")

# Python code that uses the project gets no log unless it configures one.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


class LogError(ValueError):
    """A log setting that cannot be applied, in one line."""


def logger(name: str) -> logging.Logger:
    """Return the logger of a part of the project."""
    return logging.getLogger(f"{ROOT}.{name}")


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Level, file and terminal settings of the log."""

    level: int = logging.WARNING  # minimum level on stderr
    file: Path | None = None  # log file, appended; level INFO or lower
    quiet: bool = False  # without progress: also log records marked SHOWN

    @property
    def lowest(self) -> int:
        """Return the minimum level of all outputs."""
        return self.level if self.file is None else min(self.level, logging.INFO)


def level_of_environment() -> int:
    """Return the level of SPIKEFRONT_LOG, by default WARNING. Raises LogError."""
    name = os.environ.get(VARIABLE) or "warning"
    if name.lower() not in LEVELS:
        raise LogError(f"{VARIABLE}: must be {', '.join(LEVELS)}, got {name!r}")
    return LEVELS[name.lower()]


@contextlib.contextmanager
def logging_to(settings: LogSettings) -> Iterator[None]:
    """Log as `settings` say inside the block. Raises LogError for a file that cannot be opened."""
    ours, everybody = logging.getLogger(ROOT), logging.getLogger()
    usual = ours.level
    shown = _Stderr(settings)
    ours.addHandler(shown)
    ours.setLevel(settings.lowest)
    kept = None
    try:
        if settings.file is not None:
            kept = _file_handler(settings.file, settings.lowest)
            everybody.addHandler(kept)
        yield
    finally:
        ours.setLevel(usual)
        ours.removeHandler(shown)
        if kept is not None:
            everybody.removeHandler(kept)
            kept.close()


def level() -> int:
    """Return the current minimum level, for use by workers."""
    return logging.getLogger(ROOT).getEffectiveLevel()


@contextlib.contextmanager
def about(subject: str) -> Iterator[None]:
    """Prefix records of this thread with `subject`, for example a trial, inside the block."""
    token = _about.set(subject)
    try:
        yield
    finally:
        _about.reset(token)


@contextlib.contextmanager
def collecting(level: int) -> Iterator[Callable[[], tuple[logging.LogRecord, ...]]]:
    """Collect the records of this process; yields a function that takes them for sending."""
    from logging.handlers import QueueHandler

    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(waiting)
    handler.addFilter(_LevelFilter(level))
    handler.addFilter(_add_subject)
    ours, everybody = logging.getLogger(ROOT), logging.getLogger()
    usual = ours.level
    ours.setLevel(level)
    everybody.addHandler(handler)
    try:
        yield lambda: tuple(waiting.get() for _ in range(waiting.qsize()))
    finally:
        everybody.removeHandler(handler)
        ours.setLevel(usual)


def replay(records: Iterable[logging.LogRecord]) -> None:
    """Log the records of another process in this one."""
    for record in records:
        logging.getLogger(record.name).handle(record)


class _Stderr(logging.Handler):
    """Prints to the current stderr, which live progress replaces while it runs."""

    def __init__(self, settings: LogSettings) -> None:
        super().__init__(settings.level)
        self._skips_shown = not settings.quiet
        self.addFilter(_add_subject)
        timed = "%(asctime)s %(level)-7s %(part)-8s %(about)s%(message)s"
        plain = f"{ROOT}: %(level)s: %(about)s%(message)s"
        self.setFormatter(
            _Formatter(timed if settings.level < logging.WARNING else plain, "%H:%M:%S")
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless progress has shown it."""
        if not (self._skips_shown and getattr(record, "is_shown", False)):
            print(self.format(record), file=sys.stderr, flush=True)


class _Formatter(logging.Formatter):
    """Adds the level in lower case and the logger name without the common prefix."""

    def format(self, record: logging.LogRecord) -> str:
        record.level = record.levelname.lower()
        record.part = record.name.removeprefix(f"{ROOT}.")
        return super().format(record)


class _LevelFilter(logging.Filter):
    """Passes records of the project from a level, and warnings of libraries."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record passes."""
        is_ours = record.name.partition(".")[0] == ROOT
        return record.levelno >= (self._level if is_ours else logging.WARNING)


def _add_subject(record: logging.LogRecord) -> bool:
    """Add the subject, unless the record has one from another process."""
    if not hasattr(record, "about"):
        subject = _about.get()
        record.about = f"{subject}: " if subject else ""
    return True


def _file_handler(path: Path, level: int) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LogError(f"--log: must be a file that can be written, got {path}: {reason}") from None
    handler.addFilter(_LevelFilter(level))
    handler.addFilter(_add_subject)
    line = "%(asctime)s %(level)-7s %(process)d %(part)-8s %(about)s%(message)s"
    handler.setFormatter(_Formatter(line))
    return handler
