"""The log: what a driver and its workers do, as records of the standard library's logging.

All of it is below one logger, `spikefront`. stderr shows records from the level that was
asked for, warnings if none was; a file takes more, and what libraries warn of. Records of
workers travel with their messages, so that those of other machines arrive, too; what a
worker logged after its last message is lost when it dies.
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
SHOWN = {"is_shown": True}  # `extra` of what people see anyway, as progress or as output

_about: contextvars.ContextVar[str] = contextvars.ContextVar("about", default="")

# Who uses the project from Python, and asks for no log, gets none.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


class LogError(ValueError):
    """A log that cannot be kept as asked, in one line."""


def logger(name: str) -> logging.Logger:
    """The logger of a part of the project."""
    return logging.getLogger(f"{ROOT}.{name}")


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What is logged where."""

    level: int = logging.WARNING  # from which stderr shows records
    file: Path | None = None  # that records are added to, from INFO at least
    quiet: bool = False  # nothing else is shown, so that what is shown otherwise has to be here

    @property
    def lowest(self) -> int:
        """The level from which records are made."""
        return self.level if self.file is None else min(self.level, logging.INFO)


def level_of_environment() -> int:
    """What SPIKEFRONT_LOG asks for, WARNING if nothing. Raises LogError."""
    name = os.environ.get(VARIABLE) or "warning"
    if name.lower() not in LEVELS:
        raise LogError(f"{VARIABLE}: must be {', '.join(LEVELS)}, got {name!r}")
    return LEVELS[name.lower()]


@contextlib.contextmanager
def logging_to(settings: LogSettings) -> Iterator[None]:
    """Meanwhile records go where `settings` say. Raises LogError for a file that cannot be had."""
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
    """The level from which records are made now, for workers to make the same."""
    return logging.getLogger(ROOT).getEffectiveLevel()


@contextlib.contextmanager
def about(subject: str) -> Iterator[None]:
    """Records of this thread are about `subject` meanwhile, say a trial, and name it."""
    token = _about.set(subject)
    try:
        yield
    finally:
        _about.reset(token)


@contextlib.contextmanager
def collecting(level: int) -> Iterator[Callable[[], tuple[logging.LogRecord, ...]]]:
    """Keep this process's records, in a form that can be sent; yields what takes them."""
    from logging.handlers import QueueHandler

    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(waiting)
    handler.addFilter(_Wanted(level))
    handler.addFilter(_name_subject)
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
    """Log here what was logged in another process."""
    for record in records:
        logging.getLogger(record.name).handle(record)


class _Stderr(logging.Handler):
    """Prints to whatever stderr is at that moment: live progress puts itself in its place."""

    def __init__(self, settings: LogSettings) -> None:
        super().__init__(settings.level)
        self._skips_shown = not settings.quiet
        self.addFilter(_name_subject)
        timed = "%(asctime)s %(level)-7s %(part)-8s %(about)s%(message)s"
        plain = f"{ROOT}: %(level)s: %(about)s%(message)s"
        self.setFormatter(
            _Formatter(timed if settings.level < logging.WARNING else plain, "%H:%M:%S")
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, unless progress has."""
        if not (self._skips_shown and getattr(record, "is_shown", False)):
            print(self.format(record), file=sys.stderr, flush=True)


class _Formatter(logging.Formatter):
    """Names of levels in small letters, and of loggers without what they all begin with."""

    def format(self, record: logging.LogRecord) -> str:
        record.level = record.levelname.lower()
        record.part = record.name.removeprefix(f"{ROOT}.")
        return super().format(record)


class _Wanted(logging.Filter):
    """Ours from a level, and what others warn of."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is wanted."""
        is_ours = record.name.partition(".")[0] == ROOT
        return record.levelno >= (self._level if is_ours else logging.WARNING)


def _name_subject(record: logging.LogRecord) -> bool:
    """What the record is about, unless it came from another process, which has said it."""
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
    handler.addFilter(_Wanted(level))
    handler.addFilter(_name_subject)
    line = "%(asctime)s %(level)-7s %(process)d %(part)-8s %(about)s%(message)s"
    handler.setFormatter(_Formatter(line))
    return handler
