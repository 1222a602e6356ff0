"""Artifact storage: a local folder, or remote storage whose URI pyarrow can open.

A location is a path or a URI like `s3://bucket/folder?region=eu-west-1` or
`hdfs://host:8020/folder`; `file://` URIs are paths. URIs are stored in the database, so they
hold no credentials: each service reads its own (environment, configuration files).
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from search.text.urls import masked

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# A user name, or a user name with a password, which may contain / (a port contains digits only).
_LOGIN = re.compile(r"[^:]+://([^/@]*@|[^/@:]*:(?!\d+/).*@)", re.DOTALL)
DRAFT = ".part"  # suffix of a file that is being written
EXAMPLES = "runs/artifacts or s3://bucket/folder"


class ArtifactError(ValueError):
    """A location that cannot be used, in one line."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_remote(uri: str) -> bool:
    """Return whether a location needs pyarrow and is no local path."""
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> Path:
    """Return the path of a path or a `file://` URI."""
    assert not is_remote(uri), uri
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)


def located(place: str | Path) -> str:
    """Return the absolute path or the URI of a location.

    Raises ArtifactError for a URI with a user name or password.
    """
    text = str(place)
    if not is_remote(text):
        return str(local_path(text).resolve())
    if _LOGIN.match(text):
        raise ArtifactError(
            f"{masked(text, keep_user=False)}: must not contain a user name or password before "
            "the @, because the address is stored in the database; set credentials in environment "
            "variables"
        )
    return text


def inside(place: str, *names: str) -> str:
    """Return a folder or file inside a location."""
    if not is_remote(place):
        return str(Path(place, *names))
    address, mark, options = place.partition("?")
    return "/".join([address.rstrip("/"), *names]) + mark + options


def beside(uri: str, suffix: str) -> str:
    """Return the location with `suffix` added to its name."""
    if not is_remote(uri):
        return uri + suffix
    address, mark, options = uri.partition("?")
    return address + suffix + mark + options


def upload(file: Path, uri: str) -> None:
    """Copy a local file to remote storage; it appears there complete or not at all.

    Raises OSError.
    """
    with file.open("rb") as source:
        _put(source, uri, f".{uuid.uuid4().hex[:8]}{DRAFT}")


def _put(source: BinaryIO, uri: str, suffix: str) -> None:
    """Write it under a name with the suffix first."""
    system, path = _open(uri)
    draft = path + suffix
    with _as_os_errors():
        system.create_dir(path.rpartition("/")[0], recursive=True)
        try:
            with system.open_output_stream(draft) as target:
                shutil.copyfileobj(source, target)
            system.move(draft, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.delete_file(draft)
            raise


def download(uri: str, target: Path) -> None:
    """Copy a remote file to a local one. Raises OSError, FileNotFoundError among them."""
    system, path = _open(uri)
    with (
        _as_os_errors(),
        system.open_input_stream(path) as source,
        target.open("wb") as file,
    ):
        shutil.copyfileobj(source, file)


@dataclass(frozen=True, kw_only=True)
class ArtifactFile:
    """A small file at a location, read and replaced as a whole."""

    uri: str

    @property
    def folder(self) -> str:
        """Return its folder."""
        return self.uri.partition("?")[0].rpartition("/")[0]

    @property
    def name(self) -> str:
        """Return its name in the folder."""
        return self.uri.partition("?")[0].rpartition("/")[2]

    def read(self) -> bytes | None:
        """Return its bytes; None if it is missing. Raises OSError."""
        try:
            if not is_remote(self.uri):
                return local_path(self.uri).read_bytes()
            system, path = _open(self.uri)
            with _as_os_errors(), system.open_input_stream(path) as source:
                return bytes(source.read())
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        """Replace its bytes: at once, or after an error not at all. Raises OSError."""
        if is_remote(self.uri):
            _put(io.BytesIO(data), self.uri, DRAFT)
            return
        path, draft = local_path(self.uri), local_path(self.uri + DRAFT)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # a machine that loses power keeps the old or the new one
            os.replace(draft, path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    def remove(self) -> None:
        """Remove it, and what a killed writer left of it, if there. Raises OSError."""
        if not is_remote(self.uri):
            local_path(self.uri).unlink(missing_ok=True)
            local_path(self.uri + DRAFT).unlink(missing_ok=True)
            return
        system, path = _open(self.uri)
        for name in (path, path + DRAFT):
            with contextlib.suppress(FileNotFoundError), _as_os_errors():
                system.delete_file(name)


def names_in(place: str) -> list[str]:
    """Return the names of the files in a folder; none if it is missing. Raises OSError."""
    if not is_remote(place):
        folder = local_path(place)
        return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    from pyarrow.fs import FileSelector

    system, path = _open(place)
    with _as_os_errors():
        found = system.get_file_info(FileSelector(path, allow_not_found=True))
    return [info.base_name for info in found]


def is_there(uri: str) -> bool:
    """Return whether there is a file; False also for remote storage that does not respond."""
    if not is_remote(uri):
        return local_path(uri).is_file()
    system, path = _open(uri)
    try:
        with _as_os_errors():
            return bool(system.get_file_info(path).is_file)
    except OSError:
        return False


def check(place: str) -> None:
    """Raise ArtifactError unless files can be written to the remote location."""
    _open(place)
    probe = inside(place, f".spikefront-{uuid.uuid4().hex[:8]}")
    try:
        upload(Path(os.devnull), probe)
        system, path = _open(probe)
        with _as_os_errors():
            system.delete_file(path)
    except OSError as error:
        raise ArtifactError(f"{place}: cannot be written: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line; of OSError without the file name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _open(uri: str) -> "tuple[FileSystem, str]":
    from pyarrow.fs import FileSystem

    try:
        system, path = FileSystem.from_uri(uri)
    except Exception as error:  # of many classes, depending on the library behind pyarrow
        from search.text.requirements import missing

        if (said := missing(error)) is not None:
            raise ArtifactError(f"{uri}: {said}") from error
        message = f"{uri}: must be a location like {EXAMPLES}, got: {one_line(error)}"
        raise ArtifactError(message) from error
    return system, path


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise errors of the libraries behind pyarrow as OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(one_line(error)) from error
