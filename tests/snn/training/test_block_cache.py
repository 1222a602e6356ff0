"""The block cache: bit for bit what training gives, and whole whatever happens to it."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import torch

from snn.network.blocks import connections_of, layers_of
from snn.settings.config import SETTINGS, RunConfig
from snn.settings.measurement import Measurement
from snn.training import block_cache, block_key, checkpoint, environment
from snn.training.block_cache import DRAFT, STALE_S, BlockCache, Entry
from snn.training.plan import plan
from snn.training.train import Training
from tests.snn.training.test_train import ROUTED, SMALL, split_of

LIMIT = 100_000_000
QUICK = SMALL.replace(epochs=1, train_images=128)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Other thread counts may round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(config: RunConfig, folder: Path | None) -> tuple[Training, list[Measurement]]:
    """A training with the cache in `folder`, or without one, and what it measured."""
    cache = None if folder is None else BlockCache(folder, limit_bytes=LIMIT)
    training = Training(config, split_of(config), cache=cache)
    return training, list(training)


def digest(training: Training, path: Path) -> str:
    """Of the weights file, which has classes, detectors and memory in it too."""
    checkpoint.save(training.trained, path)
    return checkpoint.sha256(path)


def epochs(measurements: list[Measurement]) -> list[Measurement]:
    """Without what depends on the clock, or on the cache."""
    return [replace(m, wall_s=0.0, is_reused=False, epochs_reused=0) for m in measurements]


CONFIGS: dict[str, dict[str, Any]] = {
    "base": {},
    "dropout and rewiring": {"dropout": 0.2, "target_sparsity": 0.8},
    "open loop": {"target_sparsity": 0.8, "rewiring": "open-loop"},
    "poisson": {"encoding": "poisson"},
    "learned": {"neuron": "learned"},
    "own leaks": {"neuron": "leaks", "leak_spread": 3.0},
    "maximum": {"backbone": "vgg5", "pooling": "max"},
    "shifted": {"augmentation": "shift", "optimizer": "sgd", "learning_rate": 0.1},
    "batch norm": {"norm": "batch-over-time", "reset": "hard"},
    **{
        rule: {"time_rule": rule, "reset": "hard" if rule == "spike-bp" else "soft"}
        for rule in SETTINGS["time_rule"].choices
        if rule != "bptt"
    },
}
CONFIGS["spike-time"] |= {"architecture": "d20 d15 d12", "norm": "none", "readout": "spiking"}
CONFIGS["encoder"] |= {"architecture": "d20 d15 d12", "decoder_hidden": 8}
CONFIGS["stdp"] |= {
    "architecture": "c4p c6 c6",
    "threshold": 3.0,
    "norm": "none",
    "pooling": "spiking",
    "head_hidden": 0,
}


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_blocks_from_the_cache_are_bit_for_bit_those_of_training(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """The whole from the cache, and the last block trained after two that come from it."""
    config = QUICK.replace(**changes)
    plain, measured = train(config, None)
    wanted = digest(plain, tmp_path / "plain")

    first, _ = train(config.replace(partition="1+1"), tmp_path / "blocks")
    assert first.epochs_reused == 0
    continued, of_continued = train(config, tmp_path / "blocks")
    assert [m.is_reused for m in of_continued] == [True, True, False]
    assert digest(continued, tmp_path / "continued") == wanted

    whole, of_whole = train(config, tmp_path / "blocks")
    assert all(m.is_reused for m in of_whole)
    assert digest(whole, tmp_path / "whole") == wanted
    assert epochs(of_whole) == epochs(of_continued) == epochs(measured)


@pytest.mark.parametrize("detector", SETTINGS["detector"].choices)
def test_conditional_blocks_are_bit_for_bit_those_of_training(
    detector: str, tmp_path: Path
) -> None:
    """The first block was kept as the last of its network: no hard classes, no detector."""
    config = ROUTED.replace(detector=detector)
    plain, measured = train(config, None)
    hard = plain.network.block(0).head.hard
    assert 1 < len(hard) < 10
    assert (plain.network.block(0).head.detector is not None) == (detector == "head")
    wanted = digest(plain, tmp_path / "plain")
    train(config.replace(partition="1", block_classes="all", detector="none"), tmp_path / "blocks")
    continued, of_continued = train(config, tmp_path / "blocks")
    whole, of_whole = train(config, tmp_path / "blocks")
    assert (continued.epochs_reused, whole.epochs_reused) == (4, len(measured))
    assert digest(continued, tmp_path / "continued") == wanted
    assert digest(whole, tmp_path / "whole") == wanted
    assert epochs(of_whole) == epochs(of_continued) == epochs(measured)


def test_a_network_of_one_block_is_the_first_block_of_a_longer_one(tmp_path: Path) -> None:
    """Its config says end to end, because with one block nothing can be local."""
    train(QUICK.replace(partition="2"), tmp_path)
    longer, measured = train(QUICK.replace(partition="2+1"), tmp_path)
    assert longer.epochs_reused == 1
    assert [(m.block, m.epochs_done, m.epochs_total) for m in measured] == [(1, 1, 2), (2, 2, 2)]
    alone, (measurement,) = train(QUICK.replace(partition="2"), tmp_path)
    assert (alone.epochs_reused, measurement.block, measurement.epochs_total) == (1, 0, 1)


def test_blocks_that_are_trained_together_stay_out_of_the_cache(tmp_path: Path) -> None:
    train(QUICK.replace(space_rule="end-to-end"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def described(config: RunConfig, **changes: Any) -> dict[str, Any]:
    """What the first block of a config depends on."""
    training = Training(config.replace(**changes), split_of(config))
    return block_key.describe(training.network, range(10), training._environment)


def test_every_setting_counts_but_those_that_cannot_reach_the_block() -> None:
    counted = described(QUICK)["settings"].keys()
    operating = {name for name, setting in SETTINGS.items() if setting.operating}
    left = operating | block_key.ROUTING | block_key.CUT | block_key.ARCHITECTURE
    absent = {name for name, setting in SETTINGS.items() if setting.without is not None}
    assert SETTINGS.keys() - counted - absent == left - absent
    assert absent & left - operating == {"backbone", "architecture"}


OTHERWISE: dict[str, dict[str, Any]] = {
    "block_classes": {"block_classes": "hard"},
    "class_threshold": {"class_threshold": 0.2, "block_classes": "hard"},
    "class_rule": {"class_rule": "mean", "block_classes": "hard"},
    "class_score": {"class_score": "precision", "block_classes": "hard"},
    "hard_fraction": {"hard_fraction": 0.3, "block_classes": "hard"},
    "detector": {"detector": "head"},
    "partition": {"partition": "1+2"},
    "space_rule": {"partition": "1", "space_rule": "end-to-end"},
}


@pytest.mark.parametrize("setting", sorted(block_key.ROUTING | block_key.CUT))
def test_a_setting_that_does_not_count_changes_no_bit_of_the_block(setting: str) -> None:
    def first(config: RunConfig) -> dict[str, torch.Tensor]:
        training, _ = train(config, None)
        return block_key.tensors_of(training.network.block(0), torch.zeros(0))

    other = QUICK.replace(**OTHERWISE[setting])
    assert getattr(other, setting) != getattr(QUICK, setting)
    ours, theirs = first(QUICK), first(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert described(QUICK) == described(other)


def test_equal_units_make_equal_blocks_whatever_the_architecture_is_called() -> None:
    """The first block of resnet7 at width 8 is that of a text with other units after it."""
    own = described(QUICK, backbone="", architecture="c8p r16 d30", partition="1+2")
    assert own == described(QUICK, backbone="resnet7", width=8, partition="1+2")
    wide = described(QUICK, architecture="c8p r4000", partition="1+1")  # runs in other chunks
    assert wide["units"] == own["units"]
    assert wide != own


OWN = {
    "dropout": (0.0, 0.3),
    "leak": (0.4, 0.8),
    "threshold": (1.0, 0.7),
    "target_sparsity": (0.5, 0.8),
    "head_hidden": (0, 12),
}


@pytest.mark.parametrize("rule", ["bptt", "ottt-a", "saf-e", "dsr"])
def test_a_block_with_its_own_values_is_that_of_a_network_with_them(
    rule: str, tmp_path: Path
) -> None:
    """The first block to the bit, from the cache; the second differs from one without them."""
    config = QUICK.replace(partition="1+2", time_rule=rule)
    train(config.replace(**{name: values[0] for name, values in OWN.items()}), tmp_path)
    training, _ = train(config.replace(**OWN), tmp_path)
    assert training.epochs_reused == 1
    first, second = training.network.blocks
    for block, place in ((first, 0), (second, 1)):
        conns = connections_of(block)
        alive = sum(int(conn.weight.count_nonzero()) for conn in conns)
        possible = sum(conn.weight.numel() for conn in conns)
        assert 1 - alive / possible == pytest.approx(OWN["target_sparsity"][place], abs=0.01)
        for layer in layers_of(block):
            assert (layer.lif.leak, layer.lif.threshold) == (
                OWN["leak"][place], OWN["threshold"][place],
            )  # fmt: skip
        hidden = block.head.hidden
        assert (0 if hidden is None else hidden.bias.numel()) == OWN["head_hidden"][place]
    other = {name: (values[0], 0.6) for name, values in OWN.items()} | {"head_hidden": (0, 5)}
    again, _ = train(config.replace(**other), tmp_path)
    assert again.epochs_reused == 1


def test_values_of_blocks_are_planned(tmp_path: Path) -> None:
    config = QUICK.replace(partition="1+2", memory_mode="packed", **OWN)
    training, measured = train(config, None)
    planned = plan(config, training.task, images=128).stage_memory_bytes
    counted = [m.training_memory_bytes for m in measured]
    assert planned == pytest.approx(counted, rel=0.01)


def test_units_and_classes_count_and_those_of_the_blocks_before() -> None:
    assert described(QUICK, partition="2+1") != described(QUICK)
    training, _ = train(ROUTED, None)
    network, made = training.network, training._environment
    block = network.block(0)
    assert block.head.detector is not None
    del network.blocks[1:]
    after = block_key.describe(network, block.head.hard, made)
    assert block_key.describe(network, range(10), made) != after
    assert after["before"] == [{"units": "c8p", "classes": list(range(10)), "detector": True}]


def test_an_origin_is_of_data_engine_torch_machine_and_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = split_of(QUICK)
    made = environment.environment_of(split, "cpu")
    assert environment.environment_of(split_of(QUICK), "cpu") == made
    images = split.train_images.clone()
    images[3, 0, 2, 2] += 1
    others = [
        environment.environment_of(replace(split, train_images=images), "cpu"),
        environment.environment_of(split_of(QUICK.replace(validation_fraction=0.3)), "cpu"),
    ]
    torch.set_num_threads(2)
    others.append(environment.environment_of(split, "cpu"))
    torch.set_num_threads(1)
    for name in (
        "torch.__version__",
        "snn.training.environment.engine",
        "snn.training.environment.processor",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, "another" if name.endswith("__") else lambda: "another")
            others.append(environment.environment_of(split, "cpu"))
    assert len({environment.fingerprint(other) for other in [made, *others]}) == 7
    assert [sum(made[k] != other[k] for k in made) for other in others] == [1] * 6


# The folder


def entry(name: str, size: int = 1000) -> Entry:
    """An entry with `size` bytes of tensors."""
    return Entry(
        description={"name": name},
        tensors={"weight": torch.arange(size // 4, dtype=torch.float32)},
        measurements=(),
        training_s=1.5,
        memory_bytes=7,
        training_ops=1e12,
        parameters=3,
    )


def known(cache: BlockCache, names: str) -> str:
    """Which of the entries are there, without using them."""
    return "".join(name for name in names if cache._path({"name": name}).is_file())


def aged(cache: BlockCache, name: str, age_s: float) -> None:
    """Make an entry last used that long ago."""
    path = cache._path({"name": name})
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))


def test_an_entry_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "new", limit_bytes=LIMIT)
    assert cache.get({"name": "a"}) is None
    cache.put(entry("a"))
    found = cache.get({"name": "a"})
    assert found is not None
    assert torch.equal(found.tensors["weight"], entry("a").tensors["weight"])
    assert replace(found, tensors={}) == replace(entry("a"), tensors={})
    assert cache.notes == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "renamed"])
def test_a_damaged_entry_is_noticed_removed_and_trained_again(damage: str, tmp_path: Path) -> None:
    config = QUICK.replace(partition="1+1")
    blocks = tmp_path / "blocks"
    wanted = digest(train(config, blocks)[0], tmp_path / "wanted")
    paths = sorted(blocks.iterdir())
    whole = paths[0].read_bytes()
    if damage == "truncated":
        paths[0].write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        middle = len(whole) * 3 // 4
        flipped = bytes([whole[middle] ^ 0x10])
        paths[0].write_bytes(whole[:middle] + flipped + whole[middle + 1 :])
    elif damage == "empty":
        paths[0].write_bytes(b"")
    elif damage == "foreign":
        paths[0].write_bytes(b"hello\n")
    else:
        paths[0].write_bytes(paths[1].read_bytes())
    again, measured = train(config, blocks)
    assert again.cache is not None
    (note,) = again.cache.notes
    assert paths[0].name in note
    assert again.epochs_reused == 1
    assert sum(m.is_reused for m in measured) == 1
    assert digest(again, tmp_path / "again") == wanted
    assert train(config, blocks)[0].epochs_reused == 2


def test_every_flipped_byte_of_an_entry_is_noticed(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, limit_bytes=LIMIT)
    cache.put(entry("a", 100))
    path = cache._path({"name": "a"})
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert cache.get({"name": "a"}) is None, position
        assert not path.exists()
    assert len(cache.notes) == len(whole)


def test_the_least_recently_used_go_first_and_the_limit_is_kept(tmp_path: Path) -> None:
    size = 10_000
    cache = BlockCache(tmp_path, limit_bytes=int(3.5 * size))
    for age, name in enumerate("abc"):
        cache.put(entry(name, size))
        aged(cache, name, 100 - age)
    assert known(cache, "abc") == "abc"
    assert cache.get({"name": "a"}) is not None  # now the one used last
    cache.put(entry("d", size))
    assert known(cache, "abcd") == "acd"
    for name in "efghij":
        cache.put(entry(name, size))
        assert cache.size_bytes() <= cache.limit_bytes
    assert known(cache, "hij") == "hij"


def test_a_smaller_limit_is_kept_from_the_next_entry_on(tmp_path: Path) -> None:
    for name in "abcd":
        BlockCache(tmp_path, limit_bytes=LIMIT).put(entry(name, 10_000))
    smaller = BlockCache(tmp_path, limit_bytes=25_000)
    smaller.put(entry("e", 10_000))
    assert smaller.size_bytes() <= 25_000
    assert known(smaller, "e") == "e"


def test_a_block_over_the_limit_is_not_kept_and_that_is_said(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, limit_bytes=500)
    cache.put(entry("a"))
    assert list(tmp_path.iterdir()) == []
    assert "exceeds the limit of 500" in cache.notes[0]


def test_files_that_are_not_its_own_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "00001.safetensors"
    foreign.write_bytes(bytes(50_000))
    cache = BlockCache(tmp_path, limit_bytes=5_000)
    for name in "abcdef":
        cache.put(entry(name))
    assert foreign.stat().st_size == 50_000
    assert known(cache, "f") == "f"


def test_a_full_disk_ends_the_keeping_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("snn.training.block_cache.os.fsync", full)
    training, measured = train(QUICK, tmp_path)
    assert len(training.network.blocks) == len(measured) == 3
    assert training.cache is not None
    (note,) = training.cache.notes
    assert note.endswith("is not written to: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_ends_the_keeping_and_not_the_training(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    training, _ = train(QUICK, tmp_path / "file" / "blocks")
    assert len(training.network.blocks) == 3
    assert training.cache is not None
    assert len(training.cache.notes) >= 1
    assert len(set(training.cache.notes)) == 1


def train_beside_another(blocks: Path, weights: Path, begin: Barrier, told: "Queue[str]") -> None:
    torch.set_num_threads(1)
    begin.wait()
    training, _ = train(QUICK.replace(partition="1+1"), blocks)
    told.put(digest(training, weights))


def test_two_processes_at_the_same_prefix_give_the_same_network(tmp_path: Path) -> None:
    blocks = tmp_path / "blocks"
    forks = multiprocessing.get_context("fork")
    begin, told = forks.Barrier(2), forks.Queue()
    weights = [tmp_path / f"weights{worker}" for worker in range(2)]
    workers = [
        forks.Process(target=train_beside_another, args=(blocks, path, begin, told))
        for path in weights
    ]
    for worker in workers:
        worker.start()
    results = [told.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    plain, _ = train(QUICK.replace(partition="1+1"), None)
    assert results == [digest(plain, tmp_path / "plain")] * 2
    assert len(list(blocks.iterdir())) == 2
    after, _ = train(QUICK.replace(partition="1+1"), blocks)
    assert after.epochs_reused == 2
    assert digest(after, tmp_path / "after") == results[0]


def test_a_writer_killed_in_the_middle_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """Killed with all bytes written and none of them flushed, before the entry has its name."""

    def die(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write() -> None:
        block_cache.os.fsync = die  # type: ignore[assignment]
        BlockCache(tmp_path, limit_bytes=LIMIT).put(entry("a", 100_000))

    writer = multiprocessing.get_context("fork").Process(target=write)
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    (draft,) = tmp_path.iterdir()
    assert draft.name.startswith(DRAFT)
    cache = BlockCache(tmp_path, limit_bytes=180_000)
    assert cache.get({"name": "a"}) is None
    cache.put(entry("b", 50_000))
    assert draft.exists()  # its writer may be alive
    then = draft.stat().st_mtime - STALE_S - 1
    os.utime(draft, (then, then))
    cache.put(entry("a", 50_000))
    assert not draft.exists()
    assert known(cache, "ab") == "ab"
    assert cache.notes == []


def test_entries_can_vanish_while_others_look_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker makes room between listing the folder and looking at a file."""
    cache = BlockCache(tmp_path, limit_bytes=LIMIT)
    cache.put(entry("a"))
    gone = tmp_path / f"{DRAFT}gone"
    listed = [*tmp_path.iterdir(), gone, tmp_path / "0.block"]
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(listed))
    cache.put(entry("b"))
    assert cache.notes == []
    assert known(cache, "ab") == "ab"
