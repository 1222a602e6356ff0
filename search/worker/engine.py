"""From params to a run config, and from a run config to what came of it.

The only file of `search` that runs the engine; torch is loaded when something runs.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.pruners.moasha import StoppingRule
from search.study.space import run_values
from search.study.study import Bound, Study
from search.text import log
from search.trial.rung import RungReport
from search.trial.trial import Artifact, Outcome, Params, Timings, TrialState
from search.worker.job import BlockFolder
from search.worker.uploading import without_weights
from snn.settings.config import RunConfig
from snn.settings.measurement import Evaluation, Measurement, OperatingPoint

if TYPE_CHECKING:
    from snn.data.dataset import Split
    from snn.evaluation.replay import Replay
    from snn.network.trained import Images, Trained
    from snn.training.train import Training

LOG = log.logger("trial")

VALIDATION, TEST = "validation", "test"


def run_config(study: Study, params: Params) -> RunConfig:
    """The run that `params` stand for in `study`. Raises ConfigError."""
    return RunConfig.from_mapping(run_values(study.run, params))


class TrialRun:
    """One trial at work: iterate for measurements, then read `outcome`.

    With `stopping`, a report follows the measurement that reaches a rung, of the
    network as it is then. What the trial does wrong (divergence, silence, memory, a
    crash) becomes its outcome and is not raised. Raises snn.data.dataset.DataError when the
    data set is missing or damaged, because every other trial would miss it too.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        data_dir: Path,
        device: str = "cpu",
        threads: int = 1,
        weights_path: Path | None = None,
        constraints: Mapping[str, Bound] | None = None,
        reuse: Path | None = None,
        blocks: BlockFolder | None = None,
        stopping: StoppingRule | None = None,
    ) -> None:
        self.config, self.weights_path, self.reuse = config, weights_path, reuse
        self.blocks, self.stopping = blocks, stopping
        self.constraints = constraints or {}
        self.device = pick_device(device)
        self._split = _load_split(config, data_dir, self.device, threads)
        self._outcome: Outcome | None = None
        self._notes: list[str] = []
        self._started = 0.0
        self._rungs_s = 0.0  # spent on evaluations at rungs

    @property
    def outcome(self) -> Outcome:
        """What came of the trial; there once iteration has ended."""
        assert self._outcome is not None, "the trial is still running"
        return self._outcome

    def __iter__(self) -> Iterator[Measurement | RungReport]:
        from snn.training.train import DivergedError

        try:
            yield from self._run()
        except GeneratorExit:  # stopped in the middle
            _free_memory()
            raise
        except DivergedError as error:
            self._outcome = Outcome(state=TrialState.PRUNED, reason=f"diverged: {error}")
        except SilentError as error:
            self._outcome = Outcome(
                state=TrialState.PRUNED, reason=f"silent: {error}", constraint_violation=1.0
            )
        except Exception as error:
            if _is_out_of_memory(error):
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
        # only now has the exception let go of the tensors in its frames
        if self.outcome.state is not TrialState.COMPLETE:
            _free_memory()

    def _run(self) -> Iterator[Measurement | RungReport]:
        self._started = time.perf_counter()
        trained = self._reused()
        if trained is None:
            infeasible = self._known_violation()
            if infeasible is not None:
                self._outcome = infeasible
                return
            trained = yield from self._train()
        trained_at = time.perf_counter()
        artifact, unkept = self._keep(trained)
        evaluation = self._judge(trained)
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
        if unkept is not None:
            self._outcome = without_weights(self._outcome, unkept)
            self._notes.extend(self._outcome.notes)

    def _train(self) -> Generator[Measurement | RungReport, None, Trained]:
        from snn.training.block_cache import BlockCache
        from snn.training.train import Training

        cache = None
        if self.blocks is not None:
            cache = BlockCache(
                self.blocks.here, limit_bytes=self.blocks.limit_bytes, notes=self._notes
            )
        training = Training(self.config, self._split, device=self.device, cache=cache)
        LOG.debug("trains on %s, %d images", self.device, len(self._split.train_labels))
        reached = 0
        for measurement in training:
            if measurement.is_reused and measurement.epoch == 1:
                LOG.info("block %d comes from the block cache", measurement.block)
            yield measurement
            _check_silence(measurement)
            rung = self._rung(measurement)
            if rung > reached:
                reached = rung
                yield self._report(training, measurement, rung)
        return training.trained

    def _judge(self, trained: Trained) -> Evaluation:
        return _evaluate(trained, _images(self._split, VALIDATION))

    def _rung(self, measurement: Measurement) -> int:
        """The rung that the network has reached; 0 where it has none, or not been there.

        A block that was trained before is there as it ended, and not as it was on its way.
        """
        is_on_its_way = measurement.is_reused and measurement.epoch < self.config.epochs
        if self.stopping is None or is_on_its_way:
            return 0
        return self.stopping.rung(measurement.epochs_done, measurement.epochs_total)

    def _report(self, training: Training, measurement: Measurement, rung: int) -> RungReport:
        """What the network is worth at a rung, on validation images."""
        assert self.stopping is not None
        begun = time.perf_counter()
        evaluation = _evaluate(training.snapshot(), _images(self._split, VALIDATION))
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
        """The equal training, unless it came of other data, another engine or machine."""
        from snn.training import checkpoint
        from snn.training import environment as origin

        if self.reuse is None:
            return None
        path, self.reuse = self.reuse, None
        here = origin.fingerprint(origin.origin_of(self._split, self.device))
        if checkpoint.origin_of(path) != here:
            # the sentence names no file, so that it is said once for all trials of a study
            self._notes.append(
                "weights of equal trainings are from other data, another version or another "
                "machine; trained again"
            )
            return None
        try:
            trained = checkpoint.load(path, config=self.config, device=self.device)
        except checkpoint.CheckpointError as error:
            self._notes.append(f"{error}; trained again")
            return None
        self.reuse = path
        LOG.info("takes the weights of an equal training, %s", path)
        return trained

    def _known_violation(self) -> Outcome | None:
        """An outcome if even the smallest network of the run is over a bound known beforehand.

        Whoever proposed the run has looked as well, but not at these data.
        """
        from search.worker.feasibility import Feasibility

        found = Feasibility(self.constraints, images=len(self._split.train_labels))
        infeasible = found.check(self.config)
        if infeasible is None:
            return None
        return Outcome(
            state=TrialState.PRUNED,
            reason=f"not trained: {infeasible.reason}",
            constraint_violation=infeasible.violation,
        )

    def _keep(self, trained: Trained) -> tuple[Artifact | None, OSError | None]:
        """The weights as a file, or why there is none: a disk that is full, say."""
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
    """A training that is judged on the test images, at given operating points and no others."""

    def __init__(
        self, config: RunConfig, *, points: Sequence[OperatingPoint], data_dir: Path, **place: Any
    ) -> None:
        super().__init__(config, data_dir=data_dir, **place)
        self._points, self._data_dir = points, data_dir

    def _judge(self, trained: Trained) -> Evaluation:
        from snn.evaluation.evaluate import evaluate_at
        from snn.evaluation.operating_points import OperatingSetting

        settings = [
            OperatingSetting(
                timesteps=point.timesteps,
                exit_thresholds=tuple(point.exit_thresholds),
                detector_threshold=point.detector_threshold,
            )
            for point in self._points
        ]
        images = _images(self._split, TEST, self._data_dir, self.config.dataset)
        return evaluate_at(trained, images, settings)


@dataclass(frozen=True, kw_only=True)
class ConfirmationTrainable:
    """An engine whose runs are judged on the test images, at `points`."""

    points: Sequence[OperatingPoint]

    def __call__(self, config: RunConfig, **place: Any) -> ConfirmationTrialRun:
        """A training of `config`, about to start."""
        return ConfirmationTrialRun(config, points=self.points, **place)


class SilentError(RuntimeError):
    """A network that does not spike learns nothing that it could say."""


def _check_silence(measurement: Measurement) -> None:
    if measurement.spike_rate == 0:
        block = f" of block {measurement.block}" if measurement.block else ""
        raise SilentError(
            f"no spikes on validation images after epoch {measurement.epoch}{block}; "
            "lower threshold or target_sparsity"
        )


def pick_device(device: str) -> str:
    """`auto` is the GPU where there is one, otherwise the CPU."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _load_split(config: RunConfig, data_dir: Path, device: str, threads: int) -> Split:
    import torch

    from snn.data import dataset
    from snn.training.allocator import keep_memory

    keep_memory()
    # between counts of threads results may differ in the last bit
    torch.set_num_threads(threads)
    return dataset.split(
        dataset.load(config.dataset, data_dir),
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        seed=config.seed,
        device=device,
    )


def _images(split: Split, part: str, data_dir: Path | None = None, name: str = "") -> Images:
    from snn.data import dataset
    from snn.network.trained import Images

    if part == VALIDATION:
        images, labels = split.validation_images, split.validation_labels
    else:
        assert data_dir is not None
        whole = dataset.load(name, data_dir)
        device = split.validation_images.device
        images, labels = whole.test_images.to(device), whole.test_labels.to(device)
    return Images(images=images, labels=labels, mean=split.mean, std=split.std)


def _evaluate(trained: Trained, images: Images) -> Evaluation:
    from snn.evaluation.evaluate import evaluate

    return evaluate(trained, images)


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # the processor's allocator has no exception of its own
    phrases = ("DefaultCPUAllocator", "not enough memory")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def evaluate_weights(
    config: RunConfig,
    weights: Path,
    *,
    data_dir: Path,
    device: str = "cpu",
    threads: int = 1,
    test: bool = False,
) -> Evaluation:
    """Evaluate stored weights at the operating point of `config`, on validation or test images.

    Raises DataError and snn.training.checkpoint.CheckpointError.
    """
    from snn.training.checkpoint import load

    images = images_of(config, data_dir=data_dir, device=device, threads=threads, test=test)
    trained = load(weights, config=config, device=pick_device(device))
    return _evaluate(trained, images)


def images_of(
    config: RunConfig, *, data_dir: Path, device: str = "cpu", threads: int = 1, test: bool = False
) -> Images:
    """The validation or test images of a config. Raises DataError."""
    split = _load_split(config, data_dir, pick_device(device), threads)
    return _images(split, TEST if test else VALIDATION, data_dir, config.dataset)


def replay(
    config: RunConfig, weights: Path, *, data_dir: Path, device: str = "cpu", threads: int = 1
) -> Replay:
    """Stored weights run once on the validation images, to be asked about that run.

    Raises DataError and snn.training.checkpoint.CheckpointError.
    """
    from snn.evaluation.replay import Replay
    from snn.training.checkpoint import load

    images = images_of(config, data_dir=data_dir, device=device, threads=threads)
    return Replay(load(weights, config=config, device=pick_device(device)), images)


def why_no_native_body() -> str:
    """Why neurons do not run in C on this machine; empty where they do, compiled by now."""
    from snn.lif import native

    return native.why_not()


def unreadable() -> type[ValueError]:
    """What is raised for weights that cannot be read as the network that was asked for."""
    from snn.training.checkpoint import CheckpointError

    return CheckpointError


def cut_weights(config: RunConfig, weights: Path, blocks: int, target: Path) -> RunConfig:
    """Write the prefix of `blocks` blocks to `target`; returns the config that is that prefix.

    Training that config gives the same weights.
    """
    from snn.training import checkpoint

    trained = checkpoint.load(weights, config=config)
    part = checkpoint.prefix(trained, blocks)
    checkpoint.save(part, target)
    return part.config


def dataset_fingerprint(config: RunConfig, data_dir: Path) -> str:
    """Names the images and labels of the config's data set."""
    from snn.data import dataset

    return dataset.load(config.dataset, data_dir).fingerprint


def environment(device: str = "cpu", threads: int = 1) -> dict[str, str | int]:
    """What a result was computed with."""
    import torch

    from snn.training import environment as origin

    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    chosen = pick_device(device)
    return {
        "spikefront": _own_version(),
        "python": platform.python_version(),
        **versions,
        "device": torch.cuda.get_device_name() if chosen == "cuda" else "cpu",
        "machine": platform.machine(),
        "processor": f"{origin.processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": threads,
        "engine": origin.engine(),
    }


def _own_version() -> str:
    try:
        return importlib.metadata.version("spikefront")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
