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
        folder = self._folders.get(path.parent) or self._find(path)
        if folder is None or folder == path.parent:
            return uri
        return str(folder / path.name)

    def _find(self, path: Path) -> Path | None:
        candidates = [path.parent, *self._moved(path.parent)]
        found = next((folder for folder in candidates if (folder / path.name).is_file()), None)
        if found is not None:
            self._folders[path.parent] = found
        return found

    def _moved(self, folder: Path) -> list[Path]:
        """Return the folders that may be `folder` after a move, the most similar paths first."""
        bases = [Path.cwd()]
        if self._store_file is not None:
            beside = self._store_file.absolute().parent
            bases = [beside, beside.parent, *bases]
        parts = folder.parts[1:]
        return [base.joinpath(*parts[cut:]) for cut in range(len(parts)) for base in bases]
