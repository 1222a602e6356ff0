"""Backpropagation through time, exact but for the surrogate and the undifferentiated reset."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.layers import Pass
from snn.network import Network
from snn.rules.rule import Batch, BatchResult


def bptt(network: Network, batch: Batch, state: Pass, *, apply: Callable[[], None]) -> BatchResult:
    """One graph over all timesteps, one backward pass, one step."""
    outputs = network.run(batch.drive, state, timesteps=batch.timesteps, frozen=batch.frozen)
    losses = [readout_loss(logits, batch.labels, loss=batch.loss) for logits in outputs.logits]
    loss = torch.stack(losses).mean()
    loss.backward()
    apply()
    decided = outputs.logits[-1].detach().mean(dim=0).argmax(dim=1)
    return BatchResult(loss=loss.detach(), correct=(decided == batch.labels).sum())


def readout_loss(logits: Tensor, labels: Tensor, *, loss: str) -> Tensor:
    """Cross-entropy of integrators that got `logits` (time, batch, classes).

    `mean-readout` takes their state at the end. `each-step` averages over the
    states after every timestep, so that stopping early costs little; related to
    temporal efficient training (Deng et al. 2022), which takes the inputs:
    `instantaneous`, the loss of OTTT.
    """
    steps = logits.shape[0]
    if loss == "mean-readout":
        return F.cross_entropy(logits.mean(dim=0), labels)
    if loss == "instantaneous":
        return F.cross_entropy(logits.flatten(0, 1), labels.repeat(steps))
    # running means as a matrix product: a cumulative sum has no deterministic form on GPUs
    means = torch.ones(steps, steps, dtype=logits.dtype, device=logits.device).tril()
    means = means / means.sum(dim=1, keepdim=True)
    states = torch.einsum("st,tbc->sbc", means, logits).flatten(0, 1)
    return F.cross_entropy(states, labels.repeat(steps))
