"""Sums over time: what torch's own reduction gives, and gradients that lie as their inputs do."""

import pytest
import torch

from snn.network.readout import total, with_ordered_gradient


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_total_is_the_sum_over_time_and_so_is_its_gradient(steps: int) -> None:
    x = torch.rand(steps, 3, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 3, 4, 5, 5, dtype=torch.float64)
    found = total(x)
    torch.testing.assert_close(found, x.sum(dim=0, keepdim=True), rtol=0, atol=1e-15)
    (gradient,) = torch.autograd.grad((found * weights).sum(), x)
    assert torch.equal(gradient, weights.expand_as(x))


def test_a_gradient_comes_back_in_the_order_of_what_it_is_of() -> None:
    x = torch.rand(3, 4, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    weights = torch.rand(3, 100)
    seen: list[torch.Tensor] = []
    x.register_hook(seen.append)  # type: ignore[no-untyped-call]
    (with_ordered_gradient(x).flatten(1) * weights).sum().backward()
    assert seen[0].stride() == x.stride()
    assert torch.equal(seen[0], weights.view(3, 4, 5, 5))
