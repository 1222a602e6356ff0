"""Trial runs: a network trained and evaluated in this process, or evaluated on test images.

torch is loaded when a run is made.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.pruners.rungs import StoppingRule
from search.study.study import Bound
from search.text import log
from search.text.artifacts import ArtifactFile
from search.trial.rung import RungReport
from search.trial.trial import Artifact, Outcome, Timings, TrialState
from search.worker.engine import (
    TEST,
    VALIDATION,
    evaluated,
    is_out_of_memory,
    load_split,
    part_of,
    pick_device,
    settled,
)
from search.worker.job import BlockFolder, Continuation, Report
from search.worker.uploading import without_weights
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, Measurement, OperatingPoint

if TYPE_CHECKING:
    from snn.network.trained import Trained
    from snn.training.train import Training

LOG = log.logger("trial")
TARGET_TOLERANCE = 0.05
"""Difference from `target_sparsity` up to which a trial is not noted."""


class TrialRun:
    """Train one network and evaluate it on validation images.

    Iterate for the measurement of each epoch, then read `outcome`. With `stopping`, a rung
    report follows the measurement that reaches a rung. With `checkpoint`, a path or URI, the
    training continues from there if it can, and writes there as it goes; the file stays. A
    failure of this trial (divergence, no spikes, memory, an exception) becomes its outcome and
    is not raised. Raises snn.data.dataset.DataError for a missing or damaged data set, which all
    trials share.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        data_dir: Path,
        device: str = "cpu",
        threads: int = 1,
        weights_path: Path | None = None,
        checkpoint: str | None = None,
        constraints: Mapping[str, Bound] | None = None,
        reuse: Path | None = None,
        blocks: BlockFolder | None = None,
        stopping: StoppingRule | None = None,
    ) -> None:
        self.weights_path, self.reuse = weights_path, reuse
        self.checkpoint, self.blocks, self.stopping = checkpoint, blocks, stopping
        self.constraints = constraints or {}
        self.device = pick_device(device)
        self.config = settled(config, self.device)[0]
        self._split = load_split(config, data_dir, self.device, threads)
        self._outcome: Outcome | None = None
        self._notes: list[str] = []
        self._started = 0.0
        self._rungs_s = 0.0  # seconds of evaluations at rungs
        self._reached = 0  # the highest rung

    @property
    def outcome(self) -> Outcome:
        """Return the outcome; iteration must have ended."""
        assert self._outcome is not None, "the trial is still running"
        return self._outcome

    def __iter__(self) -> Iterator[Report]:
        from snn.training.train import DivergedError

        try:
            yield from self._run()
        except GeneratorExit:  # stopped early
            _free_memory()
            raise
        except DivergedError as error:
            self._outcome = Outcome(state=TrialState.PRUNED, reason=f"diverged: {error}")
        except SilentError as error:
            self._outcome = Outcome(
                state=TrialState.PRUNED, reason=f"silent: {error}", constraint_violation=1.0
            )
        except Exception as error:
            if is_out_of_memory(error):
                self._outcome = Outcome(
                    state=TrialState.PRUNED,
                    reason="out of memory: lower batch_size, width or timesteps",
                    constraint_violation=1.0,
                )
            else:
                self._outcome = Outcome(
                    state=TrialState.FAILED,
                    reason=f"{type(error).__name__}: {error}".splitlines()[0],
                    error=traceback.format_exc(),
                )
        self._outcome = replace(self.outcome, notes=tuple(self._notes))
        # The frames of the exception held tensors until here.
        if self.outcome.state is not TrialState.COMPLETE:
            _free_memory()

    def _run(self) -> Iterator[Report]:
        self._started = time.perf_counter()
        trained = self._reused()
        if trained is None:
            if self._is_infeasible() or self._is_screened_out():
                return
            trained = yield from self._train()
        trained_at = time.perf_counter()
        artifact, save_error = self._save(trained)
        evaluation = self._evaluate(trained)
        LOG.debug("%d operating points evaluated", evaluation.points_evaluated)
        self._outcome = Outcome(
            state=TrialState.COMPLETE,
            evaluation=evaluation,
            artifact=artifact,
            timings=Timings(
                training_s=trained_at - self._started - self._rungs_s,
                evaluation_s=time.perf_counter() - trained_at + self._rungs_s,
            ),
        )
        note = missed_target(self.config, evaluation.points[0].metrics["connectivity"])
        self._notes += [note] if note else []
        if save_error is not None:
            self._outcome = without_weights(self._outcome, save_error)
            self._notes.extend(self._outcome.notes)

    def _train(self) -> Generator[Report, None, Trained]:
        from snn.training.block_cache import BlockCache
        from snn.training.stage_checkpoint import Checkpoints
        from snn.training.train import Training

        cache = None
        if self.blocks is not None:
            cache = BlockCache(
                self.blocks.here, limit_bytes=self.blocks.limit_bytes, notes=self._notes
            )
        checkpoints = None
        if self.checkpoint is not None:
            storage = ArtifactFile(uri=self.checkpoint)
            checkpoints = Checkpoints(storage, notes=self._notes)
        training = Training(
            self.config, self._split, device=self.device, cache=cache, checkpoints=checkpoints
        )
        LOG.debug("training on %s, %d images", self.device, len(self._split.train_labels))
        before = training.resume()
        if before or (checkpoints is not None and checkpoints.unused):
            unused = "" if checkpoints is None else checkpoints.unused
            continuation = Continuation(measurements=before, unused=unused)
            LOG.info(continuation.line)
            yield continuation
        if before:
            # the last epoch may be one that nobody has judged yet
            self._reached = max((self._rung(m) for m in before[:-1]), default=0)
            yield from self._judged(training, before[-1])
        for measurement in training:
            if measurement.is_reused and measurement.epoch == 1:
                LOG.info("block %d reused from the block cache", measurement.block)
            yield measurement
            yield from self._judged(training, measurement)
        return training.trained

    def _judged(self, training: Training, measurement: Measurement) -> Iterator[RungReport]:
        """Yield the rung report after an epoch, if it reaches a rung. Raises SilentError."""
        _check_silence(measurement)
        rung = self._rung(measurement)
        if rung > self._reached:
            self._reached = rung
            yield self._report(training, measurement, rung)

    def _evaluate(self, trained: Trained) -> Evaluation:
        return evaluated(trained, part_of(self._split, VALIDATION))

    def _rung(self, measurement: Measurement) -> int:
        """Return the highest rung reached, or 0.

        The block cache holds a block only as it was after its last epoch, so a reused block
        can be compared at its end and not in between.
        """
        is_unfinished_copy = measurement.is_reused and measurement.epoch < self.config.epochs
        if self.stopping is None or is_unfinished_copy:
            return 0
        return self.stopping.rung(measurement.epochs_done, measurement.epochs_total)

    def _report(self, training: Training, measurement: Measurement, rung: int) -> RungReport:
        """Return the validation metrics of the network at a rung."""
        assert self.stopping is not None
        begun = time.perf_counter()
        evaluation = evaluated(training.snapshot(), part_of(self._split, VALIDATION))
        points = self.stopping.points(evaluation.points)
        now = time.perf_counter()
        self._rungs_s += now - begun
        return RungReport(
            rung=rung,
            epochs_done=measurement.epochs_done,
            epochs_total=measurement.epochs_total,
            points=points,
            timings=Timings(
                training_s=now - self._started - self._rungs_s, evaluation_s=self._rungs_s
            ),
            notes=tuple(self._notes),
        )

    def _reused(self) -> Trained | None:
        """Return the network of an equal training.

        None if there is none, or if other data, another version or another machine made it.
        """
        from snn.training import checkpoint, environment

        if self.reuse is None:
            return None
        path, self.reuse = self.reuse, None
        here = environment.fingerprint(environment.environment_of(self._split, self.device))
        if checkpoint.environment_of(path) != here:
            # Without a file name the driver shows this note once per study.
            self._notes.append(
                "the weights of an equal training were made with other data, another version or "
                "on another machine; trained again"
            )
            return None
        try:
            trained = checkpoint.load(path, config=self.config, device=self.device)
        except checkpoint.CheckpointError as error:
            self._notes.append(f"{error}; trained again")
            return None
        self.reuse = path
        LOG.info("reusing the weights of an equal training: %s", path)
        return trained

    def _is_infeasible(self) -> bool:
        """Set a pruned outcome if the lower bound of a metric violates a constraint.

        The sampler made the same check without knowing the number of training images.
        """
        from search.worker.feasibility import Feasibility

        found = Feasibility(self.constraints, images=len(self._split.train_labels))
        infeasible = found.check(self.config)
        if infeasible is not None:
            self._outcome = Outcome(
                state=TrialState.PRUNED,
                reason=f"not trained: {infeasible.reason}",
                constraint_violation=infeasible.violation,
            )
        return infeasible is not None

    def _is_screened_out(self) -> bool:
        """Set a pruned outcome if the setting `screen` refuses the random network."""
        config = self.config
        if not config.screen:
            return False
        from snn.training.screening import screen

        judged = config if config.stages == 1 else config.prefix(1)
        silent = screen(judged, self._split, device=self.device).silent
        if silent >= config.screen:
            self._outcome = Outcome(
                state=TrialState.PRUNED,
                reason=f"not trained: before training {silent:.0%} of the neurons of a layer are "
                f"silent (screen = {config.screen:g}); lower threshold, or raise screen",
                constraint_violation=1.0,
            )
        return silent >= config.screen

    def _save(self, trained: Trained) -> tuple[Artifact | None, OSError | None]:
        """Save the weights; returns the artifact, or the error (a full disk, for example)."""
        from snn.training import checkpoint

        path = self.reuse or self.weights_path
        if path is None:
            return None, None
        try:
            if self.reuse is None:
                checkpoint.save(trained, path)
            sha256, size_bytes = checkpoint.sha256(path), path.stat().st_size
        except OSError as error:
            return None, error
        return Artifact(uri=str(path), sha256=sha256, size_bytes=size_bytes), None


class ConfirmationTrialRun(TrialRun):
    """Train one network and evaluate it on the test images at given operating points only."""

    def __init__(
        self, config: RunConfig, *, points: Sequence[OperatingPoint], data_dir: Path, **place: Any
    ) -> None:
        super().__init__(config, data_dir=data_dir, **place)
        self._points, self._data_dir = points, data_dir

    def _evaluate(self, trained: Trained) -> Evaluation:
        from snn.evaluation.evaluate import evaluate_at
        from snn.evaluation.operating_points import OperatingSetting

        settings = [
            OperatingSetting(
                timesteps=point.timesteps,
                exit_thresholds=tuple(point.exit_thresholds),
                detector_threshold=point.detector_threshold,
                time_threshold=point.time_threshold,
            )
            for point in self._points
        ]
        images = part_of(self._split, TEST, self._data_dir, self.config.dataset)
        return evaluate_at(trained, images, settings)


@dataclass(frozen=True, kw_only=True)
class ConfirmationTrainable:
    """Make trial runs that are evaluated on the test images at `points`."""

    points: Sequence[OperatingPoint]

    def __call__(self, config: RunConfig, **place: Any) -> ConfirmationTrialRun:
        """Return the trial run of `config`, not started."""
        return ConfirmationTrialRun(config, points=self.points, **place)


class SilentError(RuntimeError):
    """A network without a single spike cannot learn."""


def _check_silence(measurement: Measurement) -> None:
    if measurement.spike_rate == 0:
        block = f" of block {measurement.block}" if measurement.block else ""
        raise SilentError(
            f"no spikes on validation images after epoch {measurement.epoch}{block}; "
            "lower threshold or target_sparsity"
        )


def missed_target(config: RunConfig, connectivity: float) -> str | None:
    """Return a note on a training that ended far from its target sparsity, or None."""
    if isinstance(config.target_sparsity, tuple) or config.target_sparsity == 0:
        return None
    if abs(1 - connectivity - config.target_sparsity) <= TARGET_TOLERANCE:
        return None
    other = ", or use rewiring 'closed-loop'" if config.rewiring == "open-loop" else ""
    return (
        f"rewiring {config.rewiring!r} missed target_sparsity by more than {TARGET_TOLERANCE} in a "
        f"trial; train for more epochs{other}"
    )


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
