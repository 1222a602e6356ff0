"""Neurons and surrogates against theory."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from snn.neurons import Lif
from snn.surrogate import SURROGATES


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
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * SURROGATES[ctx.lif.surrogate].derivative(x, ctx.lif.slope), None


def _plain(lif: Lif, current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence as it stands in the docstring, differentiated by autograd."""
    spikes = []
    for x in current:
        h = lif.leak * v + x
        s = _Spike.apply(h - lif.threshold, lif)
        spikes.append(s)
        v = h - lif.threshold * s.detach() if lif.reset == "soft" else h * (1 - s.detach())
    return torch.stack(spikes), v


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_the_operator_has_the_values_and_gradients_of_the_recurrence(
    name: str, reset: Literal["soft", "hard"], draws: torch.Generator
) -> None:
    lif = Lif(leak=0.7, threshold=0.8, reset=reset, surrogate=name, slope=1.5)
    current = torch.randn(7, 5, 3, dtype=torch.float64, generator=draws).requires_grad_()
    v = torch.randn(5, 3, dtype=torch.float64, generator=draws).requires_grad_()
    weight = torch.randn(7, 5, 3, dtype=torch.float64, generator=draws)
    grads = []
    for model in (lif, lambda x, v: _plain(lif, x, v)):
        spikes, left = model(current, v)
        loss = (spikes * weight).sum() + left.square().sum()
        grads.append([loss.detach(), *torch.autograd.grad(loss, (current, v))])
    for ours, theirs in zip(*grads, strict=True):
        assert (ours - theirs).abs().max() < 1e-12


def test_without_leak_the_rate_equals_the_drive() -> None:
    """Drive c per step fires c * steps times, exactly, when nothing leaks."""
    drive = torch.tensor([0.125, 0.25, 0.5]).expand(64, 1, 3)
    spikes, _ = Lif(leak=1.0)(drive, None)
    assert spikes.sum(dim=0).tolist() == [[8.0, 16.0, 32.0]]


def test_hard_reset_loses_what_soft_reset_keeps() -> None:
    drive = torch.full((4, 1, 1), 1.5)
    soft, left = Lif(leak=1.0)(drive, None)
    hard, zero = Lif(leak=1.0, reset="hard")(drive, None)
    assert soft.flatten().tolist() == [1, 1, 1, 1]
    assert left.item() == 2.0
    assert hard.flatten().tolist() == [1, 1, 1, 1]
    assert zero.item() == 0.0


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
