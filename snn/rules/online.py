"""What the rules that run forward in time have in common: one timestep at a time, no graph kept.

A rule gives the live blocks its own dynamics (`layers.Dynamics`); the frozen
blocks in front keep firing as ordinary neurons.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.layers import Connections, Dynamics, ForwardContext
from snn.network.network import Network
from snn.rules.rule import Batch, BatchResult


@dataclass
class Unrolled:
    """Runs a batch timestep by timestep through the live blocks, in a rule's dynamics."""

    network: Network
    batch: Batch
    live: ForwardContext
    frozen: ForwardContext = field(default_factory=ForwardContext)

    def step(self, index: int, dynamics: Dynamics) -> list[Tensor]:
        """Readout inputs (batch, classes) of every live head at timestep `index`, from 0."""
        drive = self.batch.drive
        # a copy, so that nothing keeps the other timesteps alive
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
    """Effective weights are made once and collect the gradients of all timesteps.

    On leaving, what they collected goes on to the trained parameters.
    """
    made = {conn: state.weight(conn) for conn in connections}
    for conn, weight in made.items():
        state.weights[conn] = weight.detach().requires_grad_()
    yield
    for conn, weight in made.items():
        collected = state.weights[conn].grad
        if collected is not None:
            weight.backward(collected)


def step_losses(
    logits: list[Tensor], sums: list[Tensor], batch: Batch, index: int, *, leak: float
) -> Tensor:
    """Loss of one timestep, a T-th part of the batch's, averaged over heads.

    `instantaneous` judges the timestep by itself (OTTT, SAF), `each-step` the
    integrators' output until now, earlier inputs taken as they are. `sums`
    holds what the integrators hold (`snn.network.readout`) and is brought up to date.
    """
    losses = []
    for slot, readout in enumerate(logits):
        total = leak * (sums[slot] + readout)
        judged = readout if batch.loss == "instantaneous" else total / (index + 1)
        losses.append(F.cross_entropy(judged, batch.labels) / batch.timesteps)
        sums[slot] = total.detach()
    return torch.stack(losses).mean()


def learn_forward(
    run: Unrolled, dynamics: Dynamics, *, apply: Callable[[], None], every_step: bool
) -> BatchResult:
    """Go through all timesteps; learn after each (`every_step`) or once at the end."""
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
        held=(*dynamics.held(), *run.live.potentials.values()),
    )
