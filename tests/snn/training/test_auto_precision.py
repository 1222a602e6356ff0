"""Precision `auto`: what a machine is taken to multiply fast, and that it is recorded."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from snn.settings.config import RunConfig
from snn.training import block_key, checkpoint, precision
from snn.training.block_cache import BlockCache
from snn.training.precision import Choice, fastest, settled
from snn.training.train import Training
from tests.snn.training.test_train import SMALL, split_of

AUTO = SMALL.replace(precision="auto", epochs=1, train_images=64)


def processor(monkeypatch: pytest.MonkeyPatch, *, amx: bool, avx512: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)


@pytest.mark.parametrize(
    ("amx", "avx512", "chosen", "reason"),
    [
        (True, True, "bfloat16", "the processor has AMX and AVX512-BF16"),
        (False, True, "bfloat16", "the processor has AVX512-BF16"),
        (True, False, "bfloat16", "the processor has AMX"),
        (False, False, "float32", "the processor has neither AVX512-BF16 nor AMX"),
    ],
)
def test_a_processor_with_instructions_for_it_takes_bfloat16(
    amx: bool, avx512: bool, chosen: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, amx=amx, avx512=avx512)
    assert fastest("cpu") == Choice(precision=chosen, reason=reason)


def test_without_onednn_bfloat16_is_not_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, amx=True, avx512=True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fastest("cpu").precision == "float32"


@pytest.mark.parametrize("flags", ["fpu avx512_bf16 amx_bf16", "fpu avx512f", None])
def test_a_torch_that_does_not_say_leaves_it_to_the_system(
    flags: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"model name\t: one\nflags\t\t: {flags}\nflags\t\t: other\n")
    read = precision._flags
    monkeypatch.setattr(precision, "_flags", lambda: read(path))
    expected = "bfloat16" if flags is not None and "bf16" in flags else "float32"
    assert fastest("cpu").precision == expected


@pytest.mark.parametrize("is_supported", [True, False])
def test_a_gpu_is_asked_without_emulation(
    is_supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return is_supported

    from contextlib import nullcontext

    stand_in = SimpleNamespace(
        get_device_name=lambda device: "GPU of a test",
        device=lambda device: nullcontext(),
        is_bf16_supported=supported,
    )
    monkeypatch.setattr(torch, "cuda", stand_in)
    choice = fastest("cuda:0")
    assert asked == [False]
    assert choice.precision == ("bfloat16" if is_supported else "float32")
    assert choice.reason.startswith("GPU of a test")


def test_where_bfloat16_is_excluded_auto_is_float32_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor(monkeypatch, amx=True, avx512=True)
    asked = RunConfig(precision="auto", time_rule="saf-f", leak=1.0, timesteps=20)
    config, choice = settled(asked, "cpu")
    assert config == asked.replace(precision="float32")
    assert choice is not None
    assert "saf-f" in choice.reason
    assert settled(config, "cpu") == (config, None)


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_training_its_weights_and_its_block_have_the_type_that_auto_was(
    is_fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, amx=is_fast, avx512=is_fast)
    named = AUTO.replace(precision="bfloat16" if is_fast else "float32")
    cache = BlockCache(tmp_path / "blocks", limit_bytes=10**8)
    training = Training(AUTO, split_of(AUTO), cache=cache)
    list(training)
    assert training.config == training.network.config == named
    path = tmp_path / "weights.safetensors"
    checkpoint.save(training.trained, path)
    assert checkpoint.load(path, config=named).config == named
    with pytest.raises(checkpoint.CheckpointError, match="a different training"):
        checkpoint.load(path, config=AUTO)  # may be another one, on another machine
    # the block is found by the name of its type, here and on a machine of the other kind
    processor(monkeypatch, amx=not is_fast, avx512=not is_fast)
    again = Training(named, split_of(named), cache=cache)
    assert all(measured.is_reused for measured in again)
    other = Training(AUTO, split_of(AUTO), cache=cache)
    assert not next(iter(other)).is_reused


def test_auto_never_is_part_of_the_name_of_a_block() -> None:
    training = Training(AUTO, split_of(AUTO))
    description = block_key.describe(training.network, range(10), {})
    assert description["settings"]["precision"] in ("float32", "bfloat16")
