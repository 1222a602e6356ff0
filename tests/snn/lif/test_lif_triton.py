"""The fused body of the recurrence against the reference.

On a GPU where there is one, otherwise in Triton's interpreter, which runs the
kernels' operations one by one in numpy.
"""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from snn.lif import adaptive, decaying, eager, fused
from snn.lif.constants import Adaptation, Constants, state_type
from snn.lif.surrogate import SURROGATES
from snn.network.neurons import Lif

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is missing: docs/how-to/gpu.md says how to install it",
)
ROOT = Path(__file__).parents[3]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDS_APART = {"sigmoid"}  # whose exponential is not torch's
BOTH_CALLS = (3, 4)  # timesteps of two calls, one after the other


@pytest.fixture(autouse=True, scope="module")
def kernels() -> Iterator[None]:
    """Triton looks at the variable when it is first imported."""
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")
        fused.kernels.cache_clear()
        assert fused.kernels() is not None
        yield


def drawn(
    draws: torch.Generator, dtype: torch.dtype, *, neurons: int = 300, steps: int = 7
) -> tuple[Tensor, Tensor]:
    """Currents (time, batch, neurons), and what the loss weighs spikes with."""
    made = [torch.randn(steps, 2, neurons, generator=draws, dtype=torch.float64) for _ in range(2)]
    return made[0].to(dtype).to(DEVICE), made[1].to(dtype).to(DEVICE)


def constants(name: str, reset: str, *, is_learned: bool = False) -> Constants:
    lif = Lif(leak=0.7, threshold=0.8, reset=_reset(reset), surrogate=name, slope=1.5)
    return lif.at(0.7, 0.8, dtype=torch.float32, is_learned=is_learned)


def _reset(name: str) -> Literal["soft", "hard"]:
    return "hard" if name == "hard" else "soft"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("name", SURROGATES)
def test_two_calls_have_the_bits_of_the_reference(
    name: str, reset: str, dtype: torch.dtype, draws: torch.Generator
) -> None:
    by = constants(name, reset)
    current, weight = drawn(draws, dtype)
    first, second = current.split(BOTH_CALLS)
    w_first, w_second = weight.split(BOTH_CALLS)

    spikes, h = fused.forward(first, None, None, by)
    spikes_2, h_2 = fused.forward(second, h[-1], None, by)
    exact, exact_h = eager.forward(current, None, by)
    assert torch.equal(torch.cat([spikes, spikes_2]), exact)
    assert torch.equal(torch.cat([h, h_2]), exact_h)

    grad_2, _ = fused.backward(w_second, None, h_2, h[-1], None, by, with_constants=False)
    grad, _ = fused.backward(w_first, grad_2[0], h, None, None, by, with_constants=False)
    ours, theirs = torch.cat([grad, grad_2]), eager.backward(weight, None, exact_h, by)
    if name in ROUNDS_APART:
        assert (ours - theirs).abs().max() < 8 * torch.finfo(dtype).eps
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_learned_constants_have_the_gradients_of_the_reference(
    name: str, reset: str, draws: torch.Generator
) -> None:
    """Passed as a tensor on the device; several programs add up what they found."""
    by = constants(name, reset, is_learned=True)
    values = torch.tensor([by.leak, by.threshold, by.fire, by.scale], dtype=torch.float64)
    learned = values.to(DEVICE)
    current, weight = drawn(draws, torch.float64)
    before, carried = current[0].clone(), weight[0].clone()
    assert current[0].numel() > 2 * fused.BLOCK

    # the constants beside `learned` are wrong, so that using them would show
    other = constants(name, reset)
    spikes, h = fused.forward(current, before, learned, other)
    exact, exact_h = eager.forward(current, before, by)
    assert torch.equal(spikes, exact)
    assert torch.equal(h, exact_h)
    grad, of = fused.backward(weight, carried, h, before, learned, other, with_constants=True)
    exact_grad = eager.backward(weight, carried, exact_h, by)
    exact_of = eager.constants_gradient(weight, carried, exact_h, before, exact_grad, by)
    assert (grad - exact_grad).abs().max() < 1e-14
    assert (of - exact_of).abs().max() < 1e-11
    assert exact_of.abs().min() > 1e-3


@pytest.mark.parametrize("layout", ["rows", "maps", "channels last"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_leaks_of_channels_have_the_bits_and_gradients_of_the_reference(
    reset: str, layout: str, draws: torch.Generator
) -> None:
    by = constants("triangular", reset)
    shape = (7, 2, 300) if layout == "rows" else (4, 3, 6, 7, 9)
    current, weight = (torch.randn(shape, generator=draws, dtype=torch.float64) for _ in range(2))
    if layout == "channels last":
        current = current.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        current = current.unflatten(0, shape[:2])
    current, weight = current.to(DEVICE), weight.to(DEVICE)
    leaks = torch.linspace(0.1, 0.95, shape[2], dtype=torch.float64).to(DEVICE)
    before, carried = current[0].clone(), weight[0].clone()
    assert current[0].numel() > 2 * fused.BLOCK
    spikes, h = fused.forward(current, before, None, by, leaks=leaks)
    each = by.each(leaks, current[0])
    exact, exact_h = eager.forward(current, before, each)
    assert torch.equal(spikes, exact)
    assert torch.equal(h, exact_h)
    grad, of = fused.backward(
        weight, carried, h, before, None, by, leaks=leaks, with_constants=True
    )  # fmt: skip
    exact_grad = eager.backward(weight, carried, exact_h, each)
    assert torch.equal(grad, exact_grad)
    exact_of = eager.leaks_gradient(exact_h, before, exact_grad, each)
    assert of.shape == (shape[2],)
    assert (of - exact_of).abs().max() < 1e-12
    assert exact_of.abs().mean() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_currents_drive_potentials_in_single(
    dtype: torch.dtype, draws: torch.Generator
) -> None:
    by = constants("atan", "soft")
    current, weight = drawn(draws, dtype)
    spikes, h = fused.forward(current, None, None, by)
    exact, exact_h = eager.forward(current.float(), None, by)
    assert (spikes.dtype, h.dtype) == (dtype, torch.float32)
    assert torch.equal(spikes.float(), exact)
    assert torch.equal(h, exact_h)
    grad, _ = fused.backward(weight, None, h, None, None, by, with_constants=False)
    assert grad.dtype == torch.float32
    assert torch.equal(grad, eager.backward(weight.float(), None, exact_h, by))


def test_a_constant_current_is_read_where_it_lies(draws: torch.Generator) -> None:
    by = constants("triangular", "hard")
    one = drawn(draws, torch.float32, steps=1)[0]
    constant = one.expand(6, -1, -1)
    assert constant.stride(0) == 0
    spikes, h = fused.forward(constant, None, None, by)
    exact, exact_h = eager.forward(constant.clone(), None, by)
    assert torch.equal(spikes, exact)
    assert torch.equal(h, exact_h)


def test_channels_last_stays_as_it_is(draws: torch.Generator) -> None:
    by = constants("atan", "soft")
    made = torch.randn(3, 4, 5, 6, 6, generator=draws).to(DEVICE)
    current = made.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (3, 4))
    spikes, h = fused.forward(current, None, None, by)
    assert h.stride() == current.stride()
    assert torch.equal(spikes, eager.forward(made, None, by)[0])
    grad, _ = fused.backward(made, made[0], h, None, None, by, with_constants=False)
    assert torch.equal(grad, eager.backward(made, made[0], h, by))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("name", SURROGATES)
def test_adaptive_neurons_have_the_bits_of_the_reference(
    name: str, reset: str, dtype: torch.dtype, draws: torch.Generator
) -> None:
    by, adapts = constants(name, reset), Adaptation(rise=0.3, decay=0.9, height=0.7)
    current, weight = drawn(draws, dtype)
    states = torch.rand(4, *current.shape[1:], generator=draws, dtype=torch.float64)
    v, a, of_v, of_a = states.to(state_type(dtype)).to(DEVICE).unbind()
    values = (*astuple(by), *astuple(adapts))
    found = fused.adaptive_forward(current, v, a, by, adapts)
    exact = adaptive._forward_eager(current, v, a, *values)
    assert [x.dtype for x in found] == [dtype, *[v.dtype] * 3]
    assert all(torch.equal(one, other) for one, other in zip(found, exact, strict=True))
    assert 100 < found[0].sum() < 0.7 * found[0].numel()
    grads = fused.adaptive_backward(weight, of_v, of_a, found[1], by, adapts)
    exact_grads = adaptive._backward_eager(weight, of_v, of_a, found[1], *values)
    for one, other in zip(grads, exact_grads, strict=True):
        if name in ROUNDS_APART:
            assert (one - other).abs().max() < 32 * torch.finfo(one.dtype).eps
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("layout", ["rows", "channels last", "constant"])
@pytest.mark.parametrize("has_before", [False, True])
@pytest.mark.parametrize("is_backward", [False, True])
def test_decaying_sums_have_the_bits_of_the_reference(
    is_backward: bool, has_before: bool, layout: str, draws: torch.Generator
) -> None:
    x = torch.randn(4, 3, 6, 7, 9, generator=draws)
    if layout == "channels last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 3))
    elif layout == "constant":
        x = x[:1].expand(4, -1, -1, -1, -1)
    x = x.to(DEVICE)
    before = torch.rand(x.shape[1:], generator=draws).to(DEVICE) if has_before else None
    ours = decaying._sum_cuda(x, before, 0.7, is_backward)
    assert torch.equal(ours, decaying._sum_eager(x, before, 0.7, is_backward))


def test_a_variable_switches_the_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFRONT_FUSED", "0")
    fused.kernels.cache_clear()
    try:
        assert fused.kernels() is None
    finally:
        fused.kernels.cache_clear()


@pytest.mark.parametrize("strict", [False, True])
def test_constants_on_a_device_are_those_that_the_host_would_read(strict: bool) -> None:
    lif = Lif(firing_share=0.7, strict=strict)
    learned = torch.tensor([0.3, 1.1])
    leak, threshold = learned.tolist()
    by = lif.at(leak, threshold, dtype=torch.float32, is_learned=True)
    values = lif.on_device(learned, torch.float32).tolist()
    assert values == [by.leak, by.threshold, by.fire, by.scale]
    assert math.isclose(by.scale, 1 / (0.7 * threshold))
    assert state_type(torch.bfloat16) is torch.float32


COMPILED = """
import re, sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from snn.lif import fused, kernels

TYPES = dict.fromkeys(("neurons", "steps", "channels"), "i32") | dict.fromkeys(
    ("numbers", "sums", "of_leaks"), "*fp64"
) | dict(in_a_row="i32")
CHOICES = dict(has_before=True, has_carried=True, with_constants=True, block=fused.BLOCK)
LIF, ADAPTIVE = ((False, False), (True, False), (False, True)), ((False, False), (True, False))
KINDS = {
    kernels.forward: (1, LIF),
    kernels.backward: (4, LIF),
    kernels.adaptive_forward: (1, ADAPTIVE),
    kernels.adaptive_backward: (4, ADAPTIVE),
    kernels.decaying: (1, ((False, False),)),
}
for kernel, (surrogates, kinds) in KINDS.items():
    for surrogate in range(surrogates):
        for is_hard, has_leaks in kinds:
            choices = CHOICES | dict(surrogate=surrogate, is_hard=is_hard, has_leaks=has_leaks)
            names = kernel.arg_names
            usual = lambda name: "i64" if name.endswith(("stride", "end", "start")) else "*fp32"
            signature = {n: TYPES.get(n, usual(n)) for n in names}
            constants = {n: choices[n] for n in names if n in choices}
            signature |= dict.fromkeys(constants, "constexpr")
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            target = GPUTarget("cuda", 80, 32)
            ptx = triton.compile(source, target=target, options=fused.OPTIONS).asm["ptx"]
            found = re.findall(r"\\b(?:fma|atom|red)[.]\\S+", ptx)
            print(kernel.__name__, surrogate, f"{is_hard}{has_leaks}", *found)
"""


def test_compiled_for_a_gpu_nothing_is_fused_and_nothing_atomic(tmp_path: Path) -> None:
    """Every kernel, for an architecture that need not be there."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 15 + 10 + 1
    assert [line for line in lines if len(line) > 3] == []
