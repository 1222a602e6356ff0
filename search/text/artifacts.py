"""Artifact storage: a local folder, or remote storage whose URI pyarrow can open.

A location is a path or a URI like `s3://bucket/folder?region=eu-west-1` or
`hdfs://host:8020/folder`; `file://` URIs are paths. URIs are stored in the database, so they
hold no credentials: each service reads its own (environment, configuration files).
"""

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from search.text.urls import masked

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# A user name, or a user name with a password, which may contain / (a port contains digits only).
_LOGIN = re.compile(r"[^:]+://([^/@]*@|[^/@:]*:(?!\d+/).*@)", re.DOTALL)
EXAMPLES = "runs/artifacts or s3://bucket/folder"


class ArtifactError(ValueError):
    """A location that cannot be used, in one line."""


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
    system, path = _open(uri)
    draft = f"{path}.{uuid.uuid4().hex[:8]}.part"
    with _as_os_errors():
        system.create_dir(path.rpartition("/")[0], recursive=True)
        try:
            with file.open("rb") as source, system.open_output_stream(draft) as target:
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
