"""Exit heads: the classifier after a block, and its hard-class detector."""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from snn.network.encoder.code import CodeLayer
from snn.network.encoder.decoder import Decoder
from snn.network.layers import ForwardContext, Layer
from snn.network.pooling import SpikePool, divided
from snn.network.readout import Readout, total, with_ordered_gradient
from snn.network.units import BlockBuilder, SignalSpec
from snn.settings.config import RunConfig


class Head(nn.Module):
    """The exit of a block: pool, one spiking layer, class readout, hard-class detector.

    The readout has `votes` outputs per class, stored class by class and averaged. The
    outputs are integrators, or spiking neurons whose spikes are counted (Grad R), or a decoder that
    reads the code of the hidden layer. `classes`
    are the labels that the readout separates, `hard` the classes that continue to the next
    block. The detector has two outputs: easy, hard.
    """

    def __init__(
        self,
        source: SignalSpec,
        config: RunConfig,
        classes: Sequence[int],
        builder: BlockBuilder,
        name: str,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.hard: tuple[int, ...] = ()
        if len(source.shape) == 3:
            # a window per axis, so that a map of any form is pooled to `head_grid` a side
            self.pool = SpikePool(source.size, kernel=divided(source.size, config.head_grid))
            source = replace(
                source,
                shape=(source.shape[0], *self.pool.size),
                spikes_per_unit=source.spikes_per_unit * self.pool.spikes_per_unit,
            )
        else:
            self.pool = SpikePool((1, 1), kernel=1)
        self.hidden: Layer | None = None
        is_encoder = config.time_rule == "encoder"
        if config.head_hidden > 0:
            shape = (config.head_hidden, math.prod(source.shape))
            make = (
                functools.partial(CodeLayer, rate=config.code_rate, salt=builder.salt)
                if is_encoder
                else Layer
            )
            self.hidden = builder.layer(f"{name}.hidden", [shape], [source], make=make)
            source = SignalSpec(shape=(config.head_hidden,))
        self.source = source
        self.votes = config.votes
        outputs = len(self.classes) * self.votes
        self.readout: Readout | Layer
        if config.readout == "spiking":
            shape = (outputs, math.prod(source.shape))
            # no class may be silenced, nor made to fire less because it has fired
            plain = replace(
                builder,
                dropout=0.0,
                own_thresholds=False,
                balance=0.0,
                adaptation=0.0,
                delays="none",
                recurrence=0,
            )
            self.readout = plain.layer(f"{name}.readout", [shape], [source])
        elif is_encoder:
            self.readout = Decoder(source, outputs, config, builder)
        else:
            self.readout = Readout(source, outputs, builder)
        self.detector: Readout | None = None

    def add_detector(self, builder: BlockBuilder) -> Readout:
        """Add and return a new hard-class detector."""
        self.detector = Readout(self.source, 2, builder)
        return self.detector

    def forward(self, spikes: Tensor, steps: int, batch: ForwardContext) -> tuple[Tensor, Tensor]:
        """Return outputs (time, batch, classes) and the features that readout and detector read.

        Outputs are the input of the integrators, or the spikes of the output neurons.
        """
        x = self._features(self._signal(spikes, steps, batch))
        if isinstance(self.readout, Layer):
            before = batch.states.get(self.readout)
            outputs: Tensor = self.readout([x], steps, batch)
            if batch.dynamics is None:
                outputs = self.readout.lif.answer(outputs, before)
        else:
            outputs = self.readout(x, batch)
        return self._averaged(outputs), x

    def summed(self, spikes: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Return the sum over time (1, batch, ...) from which `mean` computes the mean outputs.

        Pooling and readout are linear: with integrators, one map of the summed spikes
        replaces one map per timestep.
        """
        if isinstance(self.readout, Layer | Decoder):
            outputs: Tensor = self(spikes, steps, batch)[0]
            return total(outputs)
        return total(self._signal(spikes, steps, batch))

    def mean(self, summed: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Return the mean outputs over `steps` timesteps, (batch, classes)."""
        if isinstance(self.readout, Layer | Decoder):
            return summed[0] / steps
        x = self._features(with_ordered_gradient(summed) / steps)
        outputs: Tensor = self.readout(x, batch, packs=False)
        return self._averaged(outputs)[0]

    def _signal(self, spikes: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Return the spikes of the hidden layer, or of the block where there is none."""
        if self.hidden is None:
            return spikes
        hidden: Tensor = self.hidden([self.pool(spikes).flatten(2)], steps, batch)
        return hidden

    def _features(self, signal: Tensor) -> Tensor:
        pooled: Tensor = self.pool(signal).flatten(2) if self.hidden is None else signal
        return pooled

    def _averaged(self, outputs: Tensor) -> Tensor:
        """Return the mean over the votes of each class; votes are in the last dimension."""
        if self.votes == 1:
            return outputs
        votes: Tensor = outputs.unflatten(-1, (len(self.classes), self.votes))
        return votes.mean(dim=-1)
