"""Leaky integrate-and-fire neurons.

    h[t] = leak * v[t-1] + x[t]                 potential before the spike
    s[t] = 1 if h[t] >= threshold else 0
    v[t] = h[t] - threshold * s[t]              soft reset
    v[t] = h[t] * (1 - s[t])                    hard reset

The input is not scaled by the leak. The reset carries no gradient.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from snn.lif import Constants, just_above, lif_backward, lif_forward, state_type


@dataclass(frozen=True, kw_only=True)
class Lif:
    """Constants of a population of neurons."""

    leak: float = 0.5  # decay factor of the potential per timestep; 1: no leak
    threshold: float = 1.0
    reset: Literal["soft", "hard"] = "soft"
    surrogate: str = "atan"
    slope: float = 2.0
    firing_share: float = 1.0  # neurons fire at this share of the threshold (early firing of DSR)
    strict: bool = False  # neurons fire above the threshold, not at it
    height: float = 1.0  # factor of the surrogate derivative

    def __call__(
        self,
        current: Tensor,
        state: Tensor | None,
        *,
        leak: Tensor | None = None,
        threshold: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return spikes like `current` (time, batch, ...), and the state after them.

        `state` (batch, ...) is the last h of the previous call, None at rest; its gradient
        is meaningful only to the call that returned it. Scalar tensors `leak` and
        `threshold` replace the constants and receive gradients as in DIET-SNN (Rathi & Roy
        2021): the argument of the surrogate is then h / threshold - 1. A `leak` (n,) is one
        for each neuron or channel of a current (time, batch, n, ...), without a `threshold`.
        """
        constants: Tensor | None = None
        leaks: Tensor | None = None
        if leak is not None and leak.dim() > 0:
            assert threshold is None
            leaks = leak.to(state_type(current.dtype))
        elif leak is not None or threshold is not None:
            constants = torch.stack(
                [_scalar(leak, self.leak, current), _scalar(threshold, self.threshold, current)]
            )
        spikes, last = _LifFunction.apply(current, state, constants, leaks, self)  # type: ignore[no-untyped-call]
        return spikes, last

    def answer(self, spikes: Tensor, state: Tensor | None) -> Tensor:
        """Return what output neurons say with their spikes; `state` is the one before."""
        del state
        return spikes

    def at(
        self, leak: float, threshold: float, *, dtype: torch.dtype, is_learned: bool
    ) -> Constants:
        """Return the constants of the recurrence for tensors of a type."""
        fire = self.firing_share * threshold
        return Constants(
            leak=leak,
            threshold=threshold,
            fire=just_above(fire, dtype) if self.strict else fire,
            is_hard=self.reset == "hard",
            scale=1 / fire if is_learned else 1.0,
            surrogate=self.surrogate,
            slope=self.slope,
        )

    def on_device(self, constants: Tensor, dtype: torch.dtype) -> Tensor:
        """Return leak, threshold, fire and scale for `constants` (leak, threshold) on a device.

        The same values as `at`, (4,), in double precision, without a copy to the host.
        """
        leak, threshold = constants.to(torch.float64).unbind()
        fire = self.firing_share * threshold
        scale = 1 / fire
        if self.strict:
            at = fire.to(dtype)
            fire = torch.nextafter(at, torch.full_like(at, math.inf)).to(torch.float64)
        return torch.stack([leak, threshold, fire, scale])


def _scalar(given: Tensor | None, default: float, like: Tensor) -> Tensor:
    """Return a constant as a scalar tensor on the device, without a wait for a copy."""
    dtype = state_type(like.dtype)
    if given is None:
        return torch.full((), default, dtype=dtype, device=like.device)
    return given.to(dtype)


class _LifFunction(torch.autograd.Function):
    """The recurrence as one autograd node that saves only the potentials h.

    Between two calls for one population the state carries the last h forwards. Backwards it
    carries the gradient of the first h of the later call, from which the earlier call
    computes the gradient of its last h in the same pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        state: Tensor | None,
        constants: Tensor | None,
        leaks: Tensor | None,
        lif: Lif,
    ) -> tuple[Tensor, Tensor]:
        is_learned = constants is not None
        leak, threshold, learned = lif.leak, lif.threshold, None
        dtype = state_type(current.dtype)
        if constants is not None and constants.device.type == "cpu":
            leak, threshold = constants.tolist()
        elif constants is not None:  # reading them would make the host wait for the device
            learned = lif.on_device(constants, dtype)
        by = lif.at(leak, threshold, dtype=dtype, is_learned=is_learned)
        spikes, potentials = lif_forward(current, state, by, learned=learned, leaks=leaks)
        is_learned = is_learned or (leaks is not None and ctx.needs_input_grad[3])
        ctx.save_for_backward(potentials, state if is_learned else None, learned, leaks)
        ctx.by, ctx.is_learned, ctx.height = by, is_learned, lif.height
        ctx.set_materialize_grads(False)
        return spikes, potentials[-1]

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, carried: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, None]:
        potentials, state, learned, leaks = ctx.saved_tensors
        if grad_spikes is None:
            grad_spikes = torch.zeros_like(potentials)
        elif ctx.height != 1:  # the derivative is linear in its height
            grad_spikes = grad_spikes * ctx.height
        gradient, of_constants = lif_backward(
            grad_spikes,
            carried,
            potentials,
            state,
            ctx.by,
            learned=learned,
            leaks=leaks,
            with_constants=ctx.is_learned,
        )
        found = of_constants.to(potentials.dtype) if ctx.is_learned else None
        return (
            gradient if ctx.needs_input_grad[0] else None,
            gradient[0] if ctx.needs_input_grad[1] else None,
            found if leaks is None else None,
            found if leaks is not None else None,
            None,
        )
