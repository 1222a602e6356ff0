"""Trials with weights in remote storage: trained in a local folder, then uploaded."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from search.text.artifacts import beside, download, is_remote, local_path, one_line, upload
from search.trial.trial import Outcome
from search.worker.job import Report, RunningJob

TIMES = ".times.json"  # suffix of the file with training times; optional

Start = Callable[[Path | None, Path | None], RunningJob]


class UploadingRun:
    """Run a job in a temporary folder and upload its weights.

    `start` receives the path for the weights and the path of downloaded weights to reuse. If
    the upload fails, the outcome has no weights and says why; if the download fails, the
    network is trained.
    """

    def __init__(self, start: Start, *, weights: str | None, reuse: str | None) -> None:
        self._start, self._weights, self._reuse = start, weights, reuse
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """Return the outcome; iteration must have ended."""
        assert self._outcome is not None, "the trial is still running"
        return self._outcome

    def __iter__(self) -> Iterator[Report]:
        with tempfile.TemporaryDirectory(prefix="spikefront-") as folder:
            running = self._start(self._target(Path(folder)), self._downloaded(Path(folder)))
            yield from running
            self._outcome = self._uploaded(running.outcome)

    def _target(self, folder: Path) -> Path | None:
        if self._weights is None:
            return None
        return folder / "trained" if is_remote(self._weights) else local_path(self._weights)

    def _downloaded(self, folder: Path) -> Path | None:
        if self._reuse is None:
            return None
        if not is_remote(self._reuse):
            return local_path(self._reuse)
        copy = folder / "reused"
        try:
            download(beside(self._reuse, TIMES), folder / f"reused{TIMES}")
            download(self._reuse, copy)
        except OSError:
            return None
        return copy

    def _uploaded(self, outcome: Outcome) -> Outcome:
        """Upload the weights; returns the outcome with their URI."""
        artifact = outcome.artifact
        if artifact is None:
            return outcome
        file = Path(artifact.uri)
        if file.name == "reused" and self._reuse is not None:
            return _with_address(outcome, self._reuse)
        if self._weights is None or not is_remote(self._weights):
            return outcome
        try:
            times = file.with_name(file.name + TIMES)
            if times.exists():
                upload(times, beside(self._weights, TIMES))
            upload(file, self._weights)
        except OSError as error:
            return without_weights(outcome, error)
        return _with_address(outcome, self._weights)


def _with_address(outcome: Outcome, uri: str) -> Outcome:
    assert outcome.artifact is not None
    return dataclasses.replace(outcome, artifact=dataclasses.replace(outcome.artifact, uri=uri))


def without_weights(outcome: Outcome, error: OSError) -> Outcome:
    """Return the outcome without weights, with the reason."""
    reason = f"weights were not saved: {one_line(error)}"
    return dataclasses.replace(
        outcome, artifact=None, reason=reason, notes=(*outcome.notes, reason)
    )
