"""Decoders: artificial networks that read the spikes of code neurons, by their times or counts.

    time:  a[t] = sum over t' <= t of W[t'] y[t']           rate:  a[t] = W (mean of y up to t)
    f[t] = a[t] + b                  or, with a hidden layer,      f[t] = V max(0, a[t] + b) + c

f[t] is the answer to the code up to timestep t: logits of classes, or of the pixels of an image.
An exit integrates its inputs over time, so a decoder hands it t f[t] - (t-1) f[t-1], whose mean is
f[t].

An image is no class. So that exits have one, a linear classifier (`Judge`), fitted by least squares
to training images, reads the decoded ones. It belongs to the measurement: its size and its
operations are not counted.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.data.dataset import to_unit
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Observer
from snn.network.readout import Readout
from snn.network.units import BlockBuilder, SignalSpec
from snn.settings.config import RunConfig

RIDGE = 10.0
"""Penalty of the squared weights of a judge, in images."""


class Judge(nn.Module):
    """Class scores of images (batch, pixels) with values from 0 to 1."""

    weight: Tensor

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(classes, pixels + 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (..., classes) of images (..., pixels)."""
        return F.linear(images, self.weight[:, :-1], self.weight[:, -1])

    @torch.no_grad()
    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Set the weights to the least squares from images (images, pixels) to their classes."""
        ones = torch.ones(len(images), 1, dtype=torch.float64)
        x = torch.cat([images.cpu().to(torch.float64), ones], dim=1)
        wanted = F.one_hot(labels.cpu(), len(self.weight)).to(torch.float64)
        gram = x.T @ x + RIDGE * torch.eye(x.shape[1], dtype=torch.float64)
        self.weight.copy_(torch.linalg.solve(gram, x.T @ wanted).T)


class Decoder(Readout):
    """The decoder of an exit: `outputs` logits, through `hidden` units if there are any."""

    def __init__(
        self, source: SignalSpec, classes: int, config: RunConfig, builder: BlockBuilder
    ) -> None:
        is_image = config.decoder_target == "image"
        outputs = math.prod(config.input_shape) if is_image else classes
        neurons, hidden = source.shape[0], config.decoder_hidden
        steps = config.timesteps if config.decoder == "time" else 1
        whole = SignalSpec(shape=(steps * neurons,))
        super().__init__(whole, hidden or outputs, builder)
        self.connections.steps = steps
        self.is_timed = config.decoder == "time"
        self.last: Connections | None = None
        if hidden > 0:
            self.last = Connections(
                (outputs, hidden), is_analog=True, is_constant=True, generator=builder.generator
            )
            self.last_bias = nn.Parameter(torch.zeros(outputs))
        self.judge = Judge(outputs, classes) if is_image else None

    @property
    def parts(self) -> list[Connections]:
        """All sets of connections."""
        return [self.connections, *([] if self.last is None else [self.last])]

    def forward(self, x: Tensor, batch: ForwardContext, *, packs: bool = True) -> Tensor:
        """Return what is to be integrated, (time, batch, classes), for the next part of a code."""
        del packs
        before = batch.states.get(self)
        if before is None:
            before = x.new_zeros(x.shape[1], self.connections.weight.shape[0] + 1)
        if batch.observer is not None:
            self._observe(x, batch.observer)
        first = int(before[0, -1]) if len(before) and not x.is_meta else 0
        summed = self._summed(x, before[:, :-1], first)
        counts = torch.arange(first, first + len(summed), dtype=x.dtype, device=x.device)
        answers = self._scores(self._answer(summed, counts))
        end = torch.full_like(before[:, :1], first + len(x))
        batch.states[self] = torch.cat([summed[-1], end], dim=1)
        weighted = answers * counts.view(-1, 1, 1)
        return weighted[1:] - weighted[:-1]

    def _observe(self, x: Tensor, observer: Observer) -> None:
        observer.readout(self.connections, x)
        if self.last is not None:  # of the hidden units only the shape is of interest
            observer.readout(self.last, x.new_zeros(*x.shape[:2], self.last.weight.shape[1]))

    def each(self, x: Tensor) -> Tensor:
        """Return f after each timestep of a whole code (time, batch, neurons)."""
        summed = self._summed(x, x.new_zeros(x.shape[1], self.connections.weight.shape[0]), 0)[1:]
        return self._answer(summed, torch.arange(1, len(x) + 1, dtype=x.dtype, device=x.device))

    def final(self, x: Tensor) -> Tensor:
        """Return f after the last timestep of a whole code, (batch, outputs), with its gradient."""
        code = x.transpose(0, 1).flatten(1) if self.is_timed else x.mean(dim=0)
        conn = self.connections
        drive = conn.mapped(code.unsqueeze(0), conn.effective_weight(), self.bias, None)
        if self.last is None:
            return drive
        hidden = torch.relu(drive).unsqueeze(0)
        return self.last.mapped(hidden, self.last.effective_weight(), self.last_bias, None)

    def _summed(self, x: Tensor, before: Tensor, first: int) -> Tensor:
        """Return the summed weights of all spikes before `x`, and after each of its timesteps."""
        weight = self.connections.effective_weight()
        if self.is_timed:
            own = weight.view(len(weight), -1, x.shape[2])[:, first : first + len(x)]
            added = torch.einsum("tbn,otn->tbo", x, own)
        else:
            added = F.linear(x, weight)
        sums = [before]
        for one in added:
            sums.append(sums[-1] + one)
        return torch.stack(sums)

    def _answer(self, summed: Tensor, counts: Tensor) -> Tensor:
        shared = summed if self.is_timed else summed / counts.clamp(min=1).view(-1, 1, 1)
        return self._rest(shared + self.bias)

    def _rest(self, drive: Tensor) -> Tensor:
        if self.last is None:
            return drive
        return F.linear(torch.relu(drive), self.last.effective_weight(), self.last_bias)

    def _scores(self, answers: Tensor) -> Tensor:
        """Return class scores: the logits of classes, or what the judge reads in the image."""
        scores: Tensor = answers if self.judge is None else self.judge(torch.sigmoid(answers))
        return scores

    @torch.no_grad()
    def fold_from(self, trained: Readout) -> None:
        """See Readout."""
        super().fold_from(trained)
        assert isinstance(trained, Decoder)
        if self.last is not None:
            self.last_bias.copy_(trained.last_bias)
        if self.judge is not None and trained.judge is not None:
            self.judge.weight.copy_(trained.judge.weight)

    def labels(self, answers: Tensor) -> Tensor:
        """Return the classes of answers, (batch,)."""
        return self._scores(answers).argmax(dim=1)


@torch.no_grad()
def distortions(decoder: Decoder, code: Tensor, target: Tensor) -> Tensor:
    """Return the bits that a code (time, batch, neurons) leaves open after each timestep.

    (time, batch).

    `target` as in `distortion`.
    """
    left = torch.stack([distortion(answers, target) for answers in decoder.each(code)])
    return left.to(torch.float64) / math.log(2)


def pixels(images: Tensor) -> Tensor:
    """Return images of bytes as the target of a decoder, (images, pixels) from 0 to 1."""
    return to_unit(images).flatten(1)


def distortion(answers: Tensor, target: Tensor) -> Tensor:
    """Return -log q(target | code) in nats, (batch,).

    `answers` (batch, outputs) are logits of classes for labels (batch,), or of pixels for images
    (batch, pixels) with values from 0 to 1.
    """
    if target.dim() == 1:
        return F.cross_entropy(answers, target, reduction="none")
    loss = F.binary_cross_entropy_with_logits(answers, target, reduction="none")
    return loss.sum(dim=1)
