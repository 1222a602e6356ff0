"""Nodes of a NIR graph: the check of their parameters, and what each computes at a timestep."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
INTEGRATING = ("I", "LI", "CubaLI")
LINEAR = ("Linear", "Affine", "Conv1d", "Conv2d")
SHAPING = ("Flatten", "AvgPool2d", "SumPool2d", "Scale", "Delay")
KNOWN = (*SPIKING, *INTEGRATING, *LINEAR, *SHAPING, "Input", "Output")
STATEFUL = (*SPIKING, *INTEGRATING, "Delay")

TIME_CONSTANTS = ("tau", "tau_mem", "tau_syn")
PARAMETERS = (
    *TIME_CONSTANTS,
    *("weight", "bias", "r", "w_in", "v_leak", "v_threshold", "v_reset", "threshold", "scale"),
    "delay",
)


def kind_of(node: Any) -> str:
    """Return the name of a node's type."""
    return type(node).__name__


def faults_of(node: Any, dt_s: float) -> Iterator[str]:
    """Yield a message for each parameter with which a node cannot run at timesteps of `dt_s`."""
    for name in PARAMETERS:
        if getattr(node, name, None) is None:
            continue
        values = np.asarray(getattr(node, name))
        if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            yield f"{name} must be real numbers, got {values.dtype}"
            continue
        with np.errstate(over="ignore"):
            wrong = values[~np.isfinite(values.astype(np.float32))]
        if wrong.size:
            yield f"{name} must be finite in single precision, got {wrong.flat[0]}"
        elif name in TIME_CONSTANTS and values.min() <= 0:
            yield f"{name} must be above 0, got {values.min():g}"
        # Euler steps of a shorter time constant overshoot; exactly dt is used by our own graphs
        elif name in TIME_CONSTANTS and values.min() < dt_s * (1 - 1e-6):
            yield (
                f"{name} must be at least one timestep of {dt_s:g} s, got {values.min():g} s; "
                "choose a shorter timestep with --dt"
            )
        elif name == "delay" and values.min() < 0:
            yield f"delay must be at least 0, got {values.min():g}"


class Weights:
    """The connections of a node with weights."""

    def __init__(self, node: Any) -> None:
        self.kind = kind_of(node)
        self.weight = _single(node.weight)
        bias = getattr(node, "bias", None)
        self.bias = None if bias is None else _single(bias)
        self._exists = (self.weight != 0).to(torch.float64)
        self._options: dict[str, Any] = {}
        if self.kind in ("Conv1d", "Conv2d"):
            self._options = {
                name: _whole(getattr(node, name)) for name in ("stride", "padding", "dilation")
            } | {"groups": int(node.groups)}

    def __call__(self, x: Tensor) -> Tensor:
        return self._map(x, self.weight, self.bias)

    def reached(self, spikes: Tensor) -> Tensor:
        """Return the sum of spikes times their existing outgoing connections, (batch,)."""
        return self._map(spikes.to(torch.float64), self._exists, None).flatten(1).sum(dim=1)

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.kind == "Conv1d":
            return F.conv1d(x, weight, bias, **self._options)
        if self.kind == "Conv2d":
            return F.conv2d(x, weight, bias, **self._options)
        return F.linear(x, weight, bias)


def _whole(value: Any) -> Any:
    """Return a number, a tuple with one per side, or the string."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value
    numbers = np.atleast_1d(np.asarray(value)).tolist()
    return int(numbers[0]) if len(numbers) == 1 else tuple(int(n) for n in numbers)


class State:
    """A node without weights: its output at a timestep, and its state until the next one."""

    def __call__(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def counted(self, spikes: Tensor) -> Tensor:
        """Return the numbers of spikes in the outputs, from those in the inputs."""
        return self(spikes)


class _Neurons(State):
    """IF, LIF, CubaLIF, Threshold, and the neurons that never fire: I, LI, CubaLI."""

    def __init__(self, node: Any, dt_s: float) -> None:
        kind = kind_of(node)
        self._is_firing = kind in SPIKING
        self._synapse = None
        if kind.startswith("Cuba"):
            share = dt_s / _float64(node.tau_syn)
            self._synapse = (_single(1 - share), _single(share * _float64(node.w_in)))
        tau = getattr(node, "tau", getattr(node, "tau_mem", None))
        if kind == "Threshold":
            self._keep, self._gain, self._rest = _single(0.0), _single(1.0), _single(0.0)
        elif tau is None:  # IF and I
            gain = dt_s * _float64(node.r)
            self._keep, self._gain, self._rest = _single(1.0), _single(gain), _single(0.0)
        else:
            share = dt_s / _float64(tau)
            self._keep = _single(1 - share)
            self._gain = _single(share * _float64(node.r))
            self._rest = _single(share * _float64(node.v_leak))
        if self._is_firing:
            self._threshold = _single(node.threshold if kind == "Threshold" else node.v_threshold)
            self._reset = _single(getattr(node, "v_reset", 0.0))
        self._v: Tensor | None = None
        self._current: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self._synapse is not None:
            keep, gain = self._synapse
            arriving = x * gain
            kept = self._current
            self._current = arriving if kept is None else kept * keep + arriving
            x = self._current
        x = x * self._gain + self._rest
        v = x if self._v is None else self._v * self._keep + x
        if not self._is_firing:
            self._v = v
            return v
        spikes = (v > self._threshold).to(v.dtype)
        self._v = torch.where(spikes > 0, self._reset, v)
        return spikes


def _float64(value: Any) -> Any:
    return np.asarray(value, dtype=np.float64)


def _single(value: Any) -> Tensor:
    return torch.from_numpy(np.array(value, dtype=np.float32))  # a copy: torch writes to it


class _Shaped(State):
    """Flatten and pools, which have no state."""

    def __init__(self, node: Any) -> None:
        self._kind = kind_of(node)
        if self._kind == "Flatten":
            axes = len(np.atleast_1d(next(iter(node.input_type.values()))))
            ends = (int(node.start_dim), int(node.end_dim))
            self._start, self._end = (end + 1 if end >= 0 else axes + 1 + end for end in ends)
        else:
            self._kernel, self._stride, self._padding = (
                _pair(getattr(node, name)) for name in ("kernel_size", "stride", "padding")
            )

    def __call__(self, x: Tensor) -> Tensor:
        return self._pooled(x, divisor=None if self._kind == "AvgPool2d" else 1)

    def counted(self, spikes: Tensor) -> Tensor:
        """Return the sum of the spike counts of each pooling window."""
        return self._pooled(spikes, divisor=1)

    def _pooled(self, x: Tensor, *, divisor: int | None) -> Tensor:
        if self._kind == "Flatten":
            return x.flatten(self._start, self._end)
        return F.avg_pool2d(x, self._kernel, self._stride, self._padding, divisor_override=divisor)


def _pair(value: Any) -> tuple[int, int]:
    numbers = np.atleast_1d(np.asarray(value)).tolist()
    return int(numbers[0]), int(numbers[-1])


class _Scaled(State):
    """Scale: one factor per value; the number of spikes stays the same."""

    def __init__(self, node: Any) -> None:
        self._scale = _single(node.scale)

    def __call__(self, x: Tensor) -> Tensor:
        return x * self._scale

    def counted(self, spikes: Tensor) -> Tensor:
        return spikes


class _Delayed(State):
    """Delay, in whole timesteps, of each value its own."""

    def __init__(self, node: Any, dt_s: float) -> None:
        steps = np.round(np.atleast_1d(_float64(node.delay)) / dt_s).astype(np.int64)
        self._each = {int(lag): torch.from_numpy(steps == lag) for lag in np.unique(steps)}
        self._values: list[Tensor] = []
        self._counts: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        return self._later(self._values, x)

    def counted(self, spikes: Tensor) -> Tensor:
        return self._later(self._counts, spikes)

    def _later(self, queue: list[Tensor], x: Tensor) -> Tensor:
        queue.append(x)
        late = torch.zeros_like(x)
        for lag, own in self._each.items():
            if lag < len(queue):
                late = torch.where(own, queue[-1 - lag], late)
        del queue[: -max(self._each) or len(queue)]
        return late


def state_of(node: Any, dt_s: float) -> State:
    """Return the state of a node before the first timestep."""
    kind = kind_of(node)
    if kind in (*SPIKING, *INTEGRATING):
        return _Neurons(node, dt_s)
    if kind in ("Flatten", "AvgPool2d", "SumPool2d"):
        return _Shaped(node)
    if kind == "Scale":
        return _Scaled(node)
    return _Delayed(node, dt_s) if kind == "Delay" else State()  # Simulation runs all others
