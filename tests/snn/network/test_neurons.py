"""Neurons and surrogates against theory."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from snn.lif import body_of, native
from snn.lif.surrogate import SURROGATES
from snn.network.neurons import Lif


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("slope", [0.7, 1.0, 4.0])
def test_a_surrogate_is_the_derivative_of_its_smooth_step(name: str, slope: float) -> None:
    surrogate = SURROGATES[name]
    x = torch.linspace(-2, 2, 41, dtype=torch.float64) + 0.013  # off the kinks
    step = 1e-6
    rise = surrogate.primitive(x + step, slope) - surrogate.primitive(x - step, slope)
    assert torch.allclose(rise / (2 * step), surrogate.derivative(x, slope), atol=1e-7)


@pytest.mark.parametrize("name", ["atan", "triangular", "sigmoid"])
def test_a_surrogate_has_unit_area(name: str) -> None:
    x = torch.linspace(-500, 500, 200_001, dtype=torch.float64)
    area = torch.trapezoid(SURROGATES[name].derivative(x, 2.0), x)
    assert area.item() == pytest.approx(1, abs=1e-3)  # ATan's tail beyond 500 is 4e-4


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lif: Lif) -> Tensor:
        ctx.save_for_backward(x)
        ctx.lif = lif
        return (x > 0 if lif.strict else x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * SURROGATES[ctx.lif.surrogate].derivative(x, ctx.lif.slope), None


def _plain(
    lif: Lif, current: Tensor, *, leak: Tensor | None = None, threshold: Tensor | None = None
) -> Tensor:
    """The recurrence as it stands in the docstring, differentiated by autograd."""
    spikes, v = [], torch.zeros_like(current[0])
    decay = torch.tensor(lif.leak, dtype=current.dtype) if leak is None else leak
    limit = torch.tensor(lif.threshold, dtype=current.dtype) if threshold is None else threshold
    fire = lif.firing_share * limit
    for x in current:
        h = decay * v + x
        z = h - fire if threshold is None else h / fire - 1
        s = _Spike.apply(z, lif)
        spikes.append(s)
        v = h - limit * s.detach() if lif.reset == "soft" else h * (1 - s.detach())
    return torch.stack(spikes)


@pytest.fixture(params=["native", "eager"])
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each body of the operator in turn."""
    if request.param == "eager":
        monkeypatch.setattr(native, "supports", lambda current, surrogate: False)
    elif native.load() is None:
        pytest.skip(native.why_not())
    return str(request.param)


@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_the_operator_has_the_values_and_gradients_of_the_recurrence(
    name: str, reset: Literal["soft", "hard"], chunk: int, draws: torch.Generator, body: str
) -> None:
    lif = Lif(leak=0.7, threshold=0.8, reset=reset, surrogate=name, slope=1.5, firing_share=0.9)
    current = torch.randn(7, 5, 3, dtype=torch.float64, generator=draws).requires_grad_()
    weight = torch.randn(7, 5, 3, dtype=torch.float64, generator=draws)
    ours, theirs = _in_chunks(lif, current, chunk), _plain(lif, current)
    assert torch.equal(ours, theirs)
    (grad,) = torch.autograd.grad((ours * weight).sum(), current)
    (exact,) = torch.autograd.grad((theirs * weight).sum(), current)
    assert (grad - exact).abs().max() < 1e-12


def _in_chunks(lif: Lif, current: Tensor, chunk: int, **constants: Tensor) -> Tensor:
    state, parts = None, []
    for part in current.split(chunk):
        spikes, state = lif(part, state, **constants)
        parts.append(spikes)
    return torch.cat(parts)


@pytest.mark.parametrize("chunk", [2, 7])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_leak_and_threshold_have_the_gradients_of_diet_snn(
    reset: Literal["soft", "hard"], chunk: int, draws: torch.Generator, body: str
) -> None:
    """Both reach the spike through z = h / threshold - 1; the threshold also in the reset."""
    lif = Lif(reset=reset, surrogate="triangular", slope=0.6)
    current = torch.randn(7, 50, 3, dtype=torch.float64, generator=draws).requires_grad_()
    weight = torch.randn(7, 50, 3, dtype=torch.float64, generator=draws)
    learned = {
        "leak": torch.tensor(0.8, dtype=torch.float64, requires_grad=True),
        "threshold": torch.tensor(0.7, dtype=torch.float64, requires_grad=True),
    }
    inputs = (current, *learned.values())
    ours, theirs = _in_chunks(lif, current, chunk, **learned), _plain(lif, current, **learned)
    assert torch.equal(ours, theirs)
    grads = torch.autograd.grad((ours * weight).sum(), inputs)
    exact = torch.autograd.grad((theirs * weight).sum(), inputs)
    for mine, other in zip(grads, exact, strict=True):
        assert (mine - other).abs().max() < 1e-11


@pytest.mark.parametrize("layout", ["rows", "channels-last", "constant"])
def test_both_bodies_make_the_same_bits(
    layout: str, draws: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.load() is None:
        pytest.skip(native.why_not())
    current = torch.randn(4, 5, 6, 7, 7, generator=draws)
    if layout == "channels-last":
        current = current.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        current = current.unflatten(0, (4, 5))
    elif layout == "constant":
        current = current[:1].expand(4, -1, -1, -1, -1)
    current = current.detach().requires_grad_()
    weight = torch.randn(4, 5, 6, 7, 7, generator=draws)
    seen = []
    for supports in (native.supports, lambda current, surrogate: False):
        monkeypatch.setattr(native, "supports", supports)
        spikes = _in_chunks(Lif(leak=0.7), current, 2)
        seen.append((spikes, *torch.autograd.grad((spikes * weight).sum(), current)))
    for mine, other in zip(*seen, strict=True):
        assert torch.equal(mine, other)


def test_without_a_compiler_the_reference_runs(
    monkeypatch: pytest.MonkeyPatch, draws: torch.Generator
) -> None:
    native.forget()
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", "")
    try:
        assert native.load() is None
        assert "compiler" in native.why_not()
        assert body_of("cpu") == "eager"
        spikes, _ = Lif()(torch.randn(3, 2, 2, generator=draws), None)
        assert spikes.shape == (3, 2, 2)
    finally:
        native.forget()


def test_strictly_above_the_threshold() -> None:
    at = torch.full((1, 1, 1), 0.5)
    assert Lif(threshold=0.5, strict=True)(at, None)[0].item() == 0
    assert Lif(threshold=0.5, strict=True)(at + 1e-7, None)[0].item() == 1


def test_without_leak_the_rate_equals_the_drive() -> None:
    """Drive c per step fires c * steps times, exactly, when nothing leaks."""
    drive = torch.tensor([0.125, 0.25, 0.5]).expand(64, 1, 3)
    spikes, _ = Lif(leak=1.0)(drive, None)
    assert spikes.sum(dim=0).tolist() == [[8.0, 16.0, 32.0]]


def test_hard_reset_loses_what_soft_reset_keeps() -> None:
    drive = torch.full((4, 1, 1), 1.5)
    soft, kept = Lif(leak=1.0)(drive, None)
    hard, lost = Lif(leak=1.0, reset="hard")(drive, None)
    assert soft.flatten().tolist() == [1, 1, 1, 1]
    assert kept.item() == 3.0  # before the last reset
    assert hard.flatten().tolist() == [1, 1, 1, 1]
    assert lost.item() == 1.5


def test_a_potential_at_the_threshold_fires() -> None:
    spikes, _ = Lif(threshold=0.5)(torch.full((1, 1, 1), 0.5), None)
    assert spikes.item() == 1


def test_chunks_of_time_give_what_all_time_gives(draws: torch.Generator) -> None:
    lif, current = Lif(leak=0.9), torch.randn(9, 4, 6, generator=draws)
    whole, end = lif(current, None)
    v, parts = None, []
    for chunk in current.split(2):
        spikes, v = lif(chunk, v)
        parts.append(spikes)
    assert torch.equal(torch.cat(parts), whole)
    assert v is not None
    assert torch.equal(v, end)
