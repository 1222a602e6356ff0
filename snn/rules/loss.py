"""Losses of the readouts of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.readout import integrated, integrated_each_step


def readout_loss(logits: Tensor, labels: Tensor, *, loss: str, leak: float = 1.0) -> Tensor:
    """Return the loss of integrators with input `logits` (time, batch, classes).

    `leak` is their decay factor. `mean-readout` and `squared-error` apply to the output at
    the end. `each-step` is the mean over the outputs after every timestep, so that fewer
    timesteps at inference cost little accuracy. `instantaneous` applies to the inputs (OTTT;
    temporal efficient training, Deng et al. 2022).
    """
    if loss in ("mean-readout", "squared-error"):
        return output_loss(integrated(logits, leak=leak), labels, loss=loss)
    judged = logits if loss == "instantaneous" else integrated_each_step(logits, leak=leak)
    return F.cross_entropy(judged.flatten(0, 1), labels.repeat(len(logits)))


def output_loss(output: Tensor, labels: Tensor, *, loss: str) -> Tensor:
    """Return the loss of the output (batch, classes) at the end.

    `squared-error` is the sum over images and classes, without 1/2, of the squared
    distance to one-hot labels (Lee et al. 2020 as released); all others are the mean of the
    cross-entropy over images.
    """
    if loss == "squared-error":
        classes = torch.arange(output.shape[1], device=output.device)
        return (output - (labels.unsqueeze(1) == classes).to(output)).square().sum()
    return F.cross_entropy(output, labels)


def per_image(value: Tensor, labels: Tensor, *, loss: str) -> Tensor:
    """Return the loss as reported: the mean over images, without a graph."""
    value = value.detach()
    return value / len(labels) if loss == "squared-error" else value
