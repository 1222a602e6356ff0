"""Shared parts of the rules that run forward in time: one timestep and one graph at a time.

A rule replaces the dynamics of the live blocks (`layers.Dynamics`); the frozen blocks run
as ordinary neurons.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import grad as conv_grad

from snn.network.connections import Connections
from snn.network.layers import Dynamics, ForwardContext
from snn.network.network import Network
from snn.rules.rule import Batch, BatchResult


@dataclass
class Unrolled:
    """Runs a batch timestep by timestep, the live blocks with the dynamics of a rule."""

    network: Network
    batch: Batch
    live: ForwardContext
    frozen: ForwardContext = field(default_factory=ForwardContext)

    def step(self, index: int, dynamics: Dynamics) -> list[Tensor]:
        """Return readout inputs (batch, classes) of every live head at timestep `index`."""
        drive = self.batch.drive
        self.frozen.is_constant = self.network.is_constant(drive)
        # a copy, so that the other timesteps can be freed
        x = drive if drive.shape[0] == 1 else drive[index : index + 1].clone()
        with torch.no_grad():
            for number in range(self.batch.frozen):
                x = self.network.block(number)(x, 1, self.frozen)
        self.live.dynamics = dynamics
        x = dynamics.enter(x)
        logits = []
        for number in range(self.batch.frozen, len(self.network.blocks)):
            x = self.network.block(number)(x, 1, self.live)
            logits.append(self.network.block(number).head(x, 1, self.live)[0][0])
        return logits


@contextmanager
def gathered(state: ForwardContext, connections: list[Connections]) -> Iterator[None]:
    """Compute effective weights once, as leaves that sum the gradients of all timesteps.

    At the end the summed gradients are propagated to the trained parameters.
    """
    made = {conn: state.weight(conn) for conn in connections}
    for conn, weight in made.items():
        state.weights[conn] = weight.detach().requires_grad_()
    yield
    for conn, weight in made.items():
        collected = state.weights[conn].grad
        if collected is not None:
            weight.backward(collected)


def traced_map(conn: Connections, x: Tensor, weight: Tensor, *, trace: Tensor) -> Tensor:
    """Return W x of a signal (batch, ...); the weight gradient has the trace in place of x.

    In half precision only the map and its gradients are: nothing but `trace` and `weight` is
    kept for the backward pass.
    """
    current: Tensor = _TracedMap.apply(x, trace, weight, conn)  # type: ignore[no-untyped-call]
    if conn.counter is not None:
        traces = trace.unsqueeze(0)
        conn.counter.mapped(conn, traces, weight, current, passes_error=x.requires_grad)
    return current


class _TracedMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, trace: Tensor, weight: Tensor, conn: Connections) -> Tensor:
        ctx.save_for_backward(trace, weight)
        ctx.conn, ctx.shape = conn, x.shape
        ctx.mapped_in = conn.trained_in if conn.is_half else weight.dtype
        current = conn.apply_weight(x.to(ctx.mapped_in), weight.to(ctx.mapped_in))
        return current.to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor, None]:
        own = grad.dtype
        trace, weight = (kept.to(ctx.mapped_in) for kept in ctx.saved_tensors)
        grad = grad.to(ctx.mapped_in)
        grad_x = None
        if weight.dim() == 2:
            if ctx.needs_input_grad[0]:
                grad_x = (grad @ weight).view(ctx.shape).to(own)
            return grad_x, None, (grad.T @ trace.flatten(1)).to(own), None
        options: Any = {"stride": ctx.conn.stride, "padding": weight.shape[-1] // 2}
        options["groups"] = ctx.conn.groups
        if ctx.needs_input_grad[0]:
            grad_x = conv_grad.conv2d_input(ctx.shape, weight, grad, **options).to(own)
        grad_w = conv_grad.conv2d_weight(trace, list(weight.shape), grad, **options)
        return grad_x, None, grad_w.to(own), None


def step_losses(
    logits: list[Tensor], sums: list[Tensor], batch: Batch, index: int, *, leak: float
) -> Tensor:
    """Return the loss of one timestep, 1/T of the batch's, averaged over heads.

    `instantaneous` applies to the input of this timestep (OTTT, SAF), `each-step` to the
    output of the integrators after it, with earlier inputs detached. `sums` are the states
    of the integrators (`snn.network.readout`) and are updated.
    """
    losses = []
    for slot, readout in enumerate(logits):
        total = leak * (sums[slot] + readout)
        output = readout if batch.loss == "instantaneous" else total / (index + 1)
        losses.append(F.cross_entropy(output, batch.labels) / batch.timesteps)
        sums[slot] = total.detach()
    return torch.stack(losses).mean()


def learn_forward(
    run: Unrolled, dynamics: Dynamics, *, apply: Callable[[], None], every_step: bool
) -> BatchResult:
    """Run all timesteps; make a step after each (`every_step`) or leave the gradients."""
    batch = run.batch
    sums = [batch.drive.new_zeros(()) for _ in run.network.blocks][batch.frozen :]
    losses, leak = [], run.network.config.readout_leak
    for index in range(batch.timesteps):
        loss = step_losses(run.step(index, dynamics), sums, batch, index, leak=leak)
        (loss * batch.share).backward()
        losses.append(loss.detach())
        if every_step:
            apply()
            run.live.weights.clear()
    return BatchResult(
        loss=torch.stack(losses).sum(),
        correct=(sums[-1].argmax(dim=1) == batch.labels).sum(),
        held=(*dynamics.held(), *run.live.states.values()),
    )
