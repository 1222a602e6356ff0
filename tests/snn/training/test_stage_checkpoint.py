"""Checkpoints: a training that continues gives what it would have given, bit for bit."""

import dataclasses
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snn.rewiring import Rewirer
from snn.settings.config import SETTINGS, RunConfig
from snn.settings.measurement import Measurement
from snn.training.block_cache import BlockCache
from snn.training.stage import Stage
from snn.training.stage_checkpoint import FIRST_S, SHARE, Checkpoint, Checkpoints
from snn.training.train import Training
from tests.snn.training.test_block_cache import LIMIT, digest, one_thread
from tests.snn.training.test_train import ROUTED, SMALL, split_of

__all__ = ["one_thread"]

TINY = SMALL.replace(train_images=96, batch_size=32, epochs=3, partition="1+2")
"""Three batches an epoch."""


class Lost(BaseException):
    """What a kill does to a training, as far as the training can notice."""


@dataclasses.dataclass
class Memory:
    """A checkpoint in memory."""

    folder: str = "memory"
    name: str = "checkpoint"
    data: bytes | None = None
    error: OSError | None = None
    writes: int = 0

    def read(self) -> bytes | None:
        return self.data

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.data = data
        self.writes += 1


def training(
    config: RunConfig, storage: Memory | None, cache: Path | None = None, **options: Any
) -> Training:
    """A training that writes a checkpoint after every epoch."""
    options = {"share": math.inf, "first_s": 0.0, **options}
    return Training(
        config,
        split_of(config),
        cache=None if cache is None else BlockCache(cache, limit_bytes=LIMIT),
        checkpoints=None if storage is None else Checkpoints(storage, **options),
    )


def timeless(measurements: list[Measurement]) -> list[Measurement]:
    return [dataclasses.replace(m, wall_s=0.0) for m in measurements]


def lose_at(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the training be lost before its batch of this number, counted over all stages."""
    left = [batch]
    usual = Stage._train_batch

    def lost(stage: Stage, *args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Lost
        return usual(stage, *args, **options)

    monkeypatch.setattr(Stage, "_train_batch", lost)


def interrupted(
    config: RunConfig, batches: Sequence[int], cache: Path | None = None
) -> tuple[Training, list[Measurement], list[int]]:
    """A training that was lost after some batches, and again after some more, and continued.

    With the measurements of all its epochs, and after how many epochs it continued.
    """
    storage, epochs = Memory(), []
    for batch in batches:
        lost = training(config, storage, cache)
        epochs.append(len(lost.resume()))
        with pytest.MonkeyPatch.context() as patch:
            lose_at(batch, patch)
            with pytest.raises(Lost):
                list(lost)
    again = training(config, storage, cache)
    before = list(again.resume())
    return again, [*before, *again], [*epochs[1:], len(before)]


RULES: dict[str, dict[str, Any]] = {
    rule: {"time_rule": rule, "reset": "hard" if rule == "spike-bp" else "soft"}
    for rule in SETTINGS["time_rule"].choices
}
RULES["spike-time"] |= {"architecture": "d20 d15 d12", "norm": "none", "readout": "spiking"}
RULES["stdp"] |= {
    "architecture": "c4p c6",
    "partition": "1+1",
    "threshold": 3.0,
    "norm": "none",
    "pooling": "spiking",
    "head_hidden": 0,
}
RULES["encoder"] |= {"architecture": "d20 d15 d12", "recurrence": "1x1"}
RULES["decoded images"] = {
    **RULES["encoder"],
    "recurrence": "none",
    "decoder_target": "image",
    "decoder_hidden": 9,
    "code_feedback": "random",
    "target_sparsity": 0.5,
}
REWIRING: dict[str, dict[str, Any]] = {
    rewiring: {"rewiring": rewiring, "target_sparsity": 0.7, "rewiring_every": 2}
    for rewiring in SETTINGS["rewiring"].choices
}
for rewiring, changes in REWIRING.items():
    if rewiring.startswith("stdp"):
        changes |= RULES["stdp"]
OTHERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.01},
    "constant": {"schedule": "constant"},
    "batch norm": {"norm": "batch-over-time", "dropout": 0.2},
    "learned": {"neuron": "learned", "augmentation": "shift"},
    "individual": {"neuron": "individual", "leak_spread": 3.0, "dropout": 0.2},
    "poisson": {"encoding": "poisson"},
    "checkpointed": {"memory_mode": "checkpointed"},
    "running maximum": {"time_rule": "conversion", "rate_map": "rate-norm"},
    "calibrated": {"gradient_growth": 1.0},
    "bfloat16": {"precision": "bfloat16"},
    "synapses": {"synaptic_leak": 0.6},
    "delays": {"delays": "connections", "encoding": "poisson", "target_sparsity": 0.5},
    "delays of axons": {"delays": "axons", "memory_mode": "checkpointed"},
    "recurrence": {"recurrence": "1x1", "target_sparsity": 0.5, "dropout": 0.2},
    "adaptive": {"adaptation": 0.3, "neuron": "thresholds"},
    "deep r, sgd": {"rewiring": "deep-r", "target_sparsity": 0.7, "optimizer": "sgd"},
}


@pytest.mark.parametrize(
    ("changes", "space_rule"),
    [
        *((changes, "block-local") for changes in [*RULES.values(), *REWIRING.values()]),
        *((changes, "end-to-end") for changes in [*RULES.values(), *OTHERS.values()]),
    ],
    ids=[*RULES, *REWIRING, *(f"{name}-end-to-end" for name in [*RULES, *OTHERS])],
)
def test_a_lost_training_continues_bit_for_bit(
    changes: dict[str, Any], space_rule: str, tmp_path: Path
) -> None:
    """Lost in its second epoch, and where there is one in the second epoch of its second stage."""
    if changes.get("time_rule") in ("stdp", "encoder") and space_rule == "end-to-end":
        pytest.skip("trains a layer or a block after the other")
    epochs = {"block-local": 2, "end-to-end": 3}[space_rule]
    config = TINY.replace(**changes, space_rule=space_rule, epochs=epochs)
    plain = training(config, None)
    measured = list(plain)
    losses = {"block-local": [4, 7], "end-to-end": [4, 5]}
    again, told, continued = interrupted(config, losses[space_rule])
    assert continued == {"block-local": [1, 3], "end-to-end": [1, 2]}[space_rule]
    assert timeless(told) == timeless(measured)
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")


@pytest.mark.parametrize("detector", SETTINGS["detector"].choices)
def test_conditional_blocks_continue_bit_for_bit(detector: str, tmp_path: Path) -> None:
    config = ROUTED.replace(detector=detector)
    plain = training(config, None)
    measured = list(plain)
    again, epochs, continued = interrupted(config, [5, 18])
    assert continued == [1, 5]
    assert 1 < len(again.network.block(0).head.hard) < 10
    assert timeless(epochs) == timeless(measured)
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")


def test_what_comes_before_the_first_epoch_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network without time, and surrogates that were calibrated on what it gave."""
    before = {"start": "ann", "start_epochs": 2, "leak": 1.0, "norm": "none"}
    config = TINY.replace(**before, space_rule="end-to-end", gradient_growth=1.0)
    plain = training(config, None)
    measured = list(plain)
    storage = Memory()
    with monkeypatch.context() as patch:
        lose_at(6 + 4, patch)
        with pytest.raises(Lost):
            list(training(config, storage))
    again = training(config, storage)
    lose_at(6, monkeypatch)  # as many as the two epochs that are left have
    epochs = [*again.resume(), *again]
    assert timeless(epochs) == timeless(measured)
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")


def test_a_training_lost_after_its_last_epoch_trains_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = training(TINY, storage := Memory())
    measured = list(plain)
    again = training(TINY, storage)
    lose_at(0, monkeypatch)
    assert again.resume() == tuple(measured)
    assert list(again) == []
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")
    assert len(again.trained.history.training_s) == 2


def test_the_block_in_training_comes_from_the_cache_if_that_has_got_it(tmp_path: Path) -> None:
    """Another trial finished it meanwhile. Its epochs are reused, those before it are not."""
    storage = Memory()
    with pytest.MonkeyPatch.context() as patch:
        lose_at(13, patch)
        with pytest.raises(Lost):
            list(training(TINY, storage))
    plain = training(TINY, None, tmp_path / "blocks")
    measured = list(plain)
    again = training(TINY, storage, tmp_path / "blocks")
    before = again.resume()
    with pytest.raises(ValueError, match="iterate first"):
        training(TINY, None).snapshot()
    assert len(again.snapshot().network.blocks) == 1
    assert timeless(list(before)) == timeless(measured[:3])
    assert [(m.epochs_done, m.is_reused, m.epochs_reused) for m in again] == [
        (4, True, 1),
        (5, True, 2),
        (6, True, 3),
    ]
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")


def test_a_training_that_continued_fills_the_block_cache_like_any_other(tmp_path: Path) -> None:
    plain = training(TINY, None, tmp_path / "plain")
    list(plain)
    interrupted(TINY, [4, 10], tmp_path / "blocks")
    for folder in ("plain", "blocks"):
        assert len(list((tmp_path / folder).iterdir())) == 2
    reused = [training(TINY, None, tmp_path / name) for name in ("plain", "blocks")]
    assert timeless(list(reused[0])) == timeless(list(reused[1]))
    assert digest(reused[1], tmp_path / "a") == digest(plain, tmp_path / "b")


def test_reused_blocks_are_in_the_checkpoint_for_a_machine_without_them(tmp_path: Path) -> None:
    list(training(TINY.replace(partition="1"), None, tmp_path / "blocks"))
    storage = Memory()
    with pytest.MonkeyPatch.context() as patch:
        lose_at(4, patch)
        with pytest.raises(Lost):
            list(training(TINY, storage, tmp_path / "blocks"))
    again = training(TINY, storage)
    assert [(m.is_reused, m.epochs_reused) for m in again.resume()] == [
        (True, 1),
        (True, 2),
        (True, 3),
        (False, 3),
    ]
    assert [(m.epochs_done, m.epochs_trained) for m in again] == [(5, 2), (6, 3)]
    plain = training(TINY, None)
    list(plain)
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")


def test_generators_of_python_numpy_and_torch_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine draws from none of them, but an extension may."""

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(5), np.random.seed(6), torch.manual_seed(7)
    random.gauss(0, 1), np.random.randn()  # each leaves a second draw for later
    with monkeypatch.context() as patch:
        lose_at(4, patch)
        with pytest.raises(Lost):
            list(training(TINY, storage := Memory()))
    wanted = drawn()
    assert training(TINY, storage).resume()
    assert drawn() == wanted


DAMAGE = {
    "truncated": "is damaged",
    "flipped": "is damaged",
    "empty": "is not a file of this format",
    "foreign": "is not a file of this format",
    "of another config": "was made with another config",
    "of other threads": "was made with another threads",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_does_not_fit_is_said_and_ignored(damage: str, tmp_path: Path) -> None:
    storage = Memory()
    if damage == "of other threads":
        torch.set_num_threads(2)
    rate = 0.02 if damage == "of another config" else TINY.learning_rate
    list(training(TINY.replace(learning_rate=rate), storage))
    torch.set_num_threads(1)
    whole = storage.data or b""
    middle = len(whole) * 3 // 4
    storage.data = {
        "truncated": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :],
        "empty": b"",
        "foreign": b"hello\n",
    }.get(damage, whole)
    plain, again = training(TINY, None), training(TINY, storage)
    assert again.resume() == ()
    assert timeless(list(again)) == timeless(list(plain))
    assert digest(again, tmp_path / "again") == digest(plain, tmp_path / "plain")
    assert again.checkpoints is not None
    assert again.checkpoints.unused.startswith(f"checkpoint checkpoint {DAMAGE[damage]}")
    replaced = training(TINY, storage)
    assert replaced.resume()
    assert replaced.checkpoints is not None
    assert replaced.checkpoints.unused == ""


def test_a_full_disk_costs_the_checkpoint_and_not_the_training() -> None:
    storage = Memory(error=OSError(28, "No space left on device"))
    trained = training(TINY, storage)
    epochs = iter(trained)
    measured = [next(epochs), next(epochs)]
    storage.error = None  # somebody made room
    measured += epochs
    assert len(measured) == 6
    assert trained.checkpoints is not None
    assert trained.checkpoints.notes == [
        "no checkpoint is written to memory: No space left on device"
    ]
    assert len(training(TINY, storage).resume()) == 6


def test_a_rewiring_whose_state_is_unknown_has_no_checkpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Extensions of before do not say what they keep."""
    monkeypatch.delattr(Rewirer, "state")
    trained = training(TINY.replace(rewiring="magnitude", target_sparsity=0.5), storage := Memory())
    list(trained)
    assert storage.data is None
    assert trained.checkpoints is not None
    assert trained.checkpoints.notes == [
        "no checkpoint is written: the rewiring 'magnitude' has no method `state`"
    ]


@pytest.mark.parametrize("epoch_s", [0.01, 1.0, 60.0])
@pytest.mark.parametrize("write_s", [0.001, 0.5, 20.0])
def test_writing_takes_a_small_share_of_the_time(
    epoch_s: float, write_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("snn.training.stage_checkpoint.time.monotonic", lambda: now[0])
    checkpoints = Checkpoints(Memory())
    last = trained_s = 0.0

    def make() -> Checkpoint:
        now[0] += write_s
        return Checkpoint(finished=[], measurements=[], tensors={}, values={})

    for _ in range(2_000):
        now[0] += epoch_s
        trained_s += epoch_s
        before = checkpoints.written
        checkpoints.write({}, make)
        assert checkpoints.seconds <= SHARE * trained_s + write_s + 1e-6
        if checkpoints.written > before:
            lost_s, last = trained_s - last, trained_s
            assert lost_s <= max(FIRST_S, write_s / SHARE) + epoch_s + 1e-6
    assert checkpoints.written >= 1
    if write_s <= SHARE * epoch_s:
        assert checkpoints.written >= 2_000 - FIRST_S / epoch_s
