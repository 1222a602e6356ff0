"""Losses: what is wrong with the readouts of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.readout import integrated, integrated_each_step


def readout_loss(logits: Tensor, labels: Tensor, *, loss: str, leak: float = 1.0) -> Tensor:
    """Loss of integrators that got `logits` (time, batch, classes), `leak` their readout leak.

    `mean-readout` and `squared-error` judge their output at the end. `each-step`
    averages over the outputs after every timestep, so that stopping early costs
    little; related to temporal efficient training (Deng et al. 2022), which
    takes the inputs: `instantaneous`, the loss of OTTT.
    """
    if loss in ("mean-readout", "squared-error"):
        return output_loss(integrated(logits, leak=leak), labels, loss=loss)
    judged = logits if loss == "instantaneous" else integrated_each_step(logits, leak=leak)
    return F.cross_entropy(judged.flatten(0, 1), labels.repeat(len(logits)))


def output_loss(output: Tensor, labels: Tensor, *, loss: str) -> Tensor:
    """Loss of the integrators' output (batch, classes) at the end.

    `squared-error` is the sum over images and classes, without 1/2, of the squared
    distance from one-hot labels (Lee et al. 2020 as released); all others are a
    mean over images.
    """
    if loss == "squared-error":
        classes = torch.arange(output.shape[1], device=output.device)
        return (output - (labels.unsqueeze(1) == classes).to(output)).square().sum()
    return F.cross_entropy(output, labels)


def per_image(value: Tensor, labels: Tensor, *, loss: str) -> Tensor:
    """The loss as it is reported: a mean over images, without a graph."""
    value = value.detach()
    return value / len(labels) if loss == "squared-error" else value
