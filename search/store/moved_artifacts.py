"""Find artifacts after their folder was moved together with the store."""

from pathlib import Path

from search.text.artifacts import is_remote, local_path


class MovedArtifacts:
    """Returns where weights are now: the store has the path at which they were saved.

    If that folder is gone, its last parts are looked up in the folder of the store, in the
    parent of that, and in the working folder. Exports verify the SHA-256 of what is found.
    """

    def __init__(self, store_file: Path | None) -> None:
        self._store_file = store_file
        self._folders: dict[Path, Path] = {}  # folder now, by folder in the store

    def current(self, uri: str) -> str:
        """Return the location of a file now; `uri` itself if it is there, or nowhere."""
        if is_remote(uri):
            return uri
        path = local_path(uri)
        if path.parent not in self._folders:
            self._folders[path.parent] = self._find(path)
        folder = self._folders[path.parent]
        return uri if folder == path.parent else str(folder / path.name)

    def _find(self, path: Path) -> Path:
        """Return the folder of the file now; its folder in the store if it is not found."""
        if path.parent.is_dir():
            return path.parent
        moved = (folder for folder in self._moved(path.parent) if (folder / path.name).is_file())
        return next(moved, path.parent)

    def _moved(self, folder: Path) -> list[Path]:
        """Return the folders that may be `folder` after a move, the most similar paths first."""
        bases = [Path.cwd()]
        if self._store_file is not None:
            beside = self._store_file.absolute().parent
            bases = [beside, beside.parent, *bases]
        parts = folder.parts[1:]
        return [base.joinpath(*parts[cut:]) for cut in range(len(parts)) for base in bases]
