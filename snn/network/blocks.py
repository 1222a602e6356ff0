"""Blocks: units that are trained together, and the exit head after them."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from snn.lif.surrogate import peak
from snn.network.connections import Connections, Norm
from snn.network.encoder.eligibility import Eligibility
from snn.network.feedback import add_feedback
from snn.network.first_spike import START_SUM, FirstSpike
from snn.network.heads import Head
from snn.network.layers import ForwardContext, Layer
from snn.network.neurons import Lif
from snn.network.rate_maps import Clipped, RateMap, RateNorm, Rectified
from snn.network.readout import Readout
from snn.network.seeding import generator
from snn.network.units import BlockBuilder, SignalSpec, UnitModule
from snn.settings.config import RunConfig

RECURRENT_SIDES = {"none": 0, "1x1": 1, "3x3": 3}
"""Side of the window of recurrent connections in maps, by the setting `recurrence`."""


class Block(nn.Module):
    """Units trained together, and their exit head."""

    def __init__(
        self, units: Sequence[nn.Module], head: Head, source: SignalSpec, signal: SignalSpec
    ):
        super().__init__()
        self.units = nn.ModuleList(units)
        self.head = head
        self.source, self.signal = source, signal

    @property
    def first(self) -> Layer:
        """The layer that receives the input of the block."""
        return next(part for part in self.units.modules() if isinstance(part, Layer))

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Return the output spikes of the last unit, (steps, batch, ...)."""
        for unit in self.units:
            x = unit(x, steps, batch)
        if self.first.feedback is not None:
            batch.returning[self.first] = x.detach()
        return x


def builder_of(
    config: RunConfig, *, block: int, is_folded: bool = False, purpose: str = "weights"
) -> BlockBuilder:
    """Return the builder of block `block` (from 0), with a random generator of its own."""
    config = config.of_block(block)
    height = config.surrogate_height
    is_converted = config.time_rule == "conversion"
    lif = Lif(
        leak=config.leak,
        threshold=config.threshold,
        reset="soft" if config.reset == "soft" else "hard",
        surrogate=config.surrogate,
        slope=config.surrogate_slope,
        # without leak, to begin at v is to fire at threshold - v
        firing_share=1 - config.initial_potential if is_converted else config.firing_share,
        strict=config.time_rule == "spike-bp",
        height=height / peak(config.surrogate, config.surrogate_slope) if height else 1.0,
    )
    is_timed = config.time_rule == "spike-time"
    if is_timed:
        lif = FirstSpike(
            **vars(lif),
            tau=config.current_steps,
            spike_kernel=config.spike_kernel,
            gain=config.answer_gain,
        )
    is_plastic = config.time_rule == "stdp"
    if is_plastic:
        lif = FirstSpike(**vars(lif), is_exclusive=True)
    norm: Norm = "none" if is_folded else config.norm  # type: ignore[assignment]  # checked there
    return BlockBuilder(
        lif=lif,
        norm=norm,
        dropout=config.dropout,
        generator=generator(config.seed, purpose, block),
        pooling=config.pooling,
        own=_own(config, is_folded=is_folded),
        rate_map=_rate_map(config, is_folded=is_folded),
        own_leaks=config.has_own_leaks,
        leak_spread=1.0 if is_folded else config.leak_spread,
        leak_draws=generator(config.seed, "leaks", block),
        own_thresholds=config.has_own_thresholds or config.threshold_balance > 0,
        is_trained=config.has_own_thresholds,
        balance=config.threshold_balance,
        is_folded=is_folded,
        synaptic_leak=config.synaptic_leak,
        adaptation=config.adaptation,
        adaptation_leak=config.adaptation_leak,
        has_bias=not (is_timed or is_plastic),
        inhibition=config.lateral_inhibition,
        is_plastic=is_plastic and not is_folded,
        # the sum over time of spikes that come once
        readout_gain=float(config.timesteps) if is_plastic and not is_folded else 1.0,
        salt=config.seed * 1_000_003 + block,
        lift=START_SUM * config.threshold if is_timed else 0.0,
        identity_share=config.identity_share,
        recurrence=RECURRENT_SIDES[config.recurrence],
        recurrent_draws=generator(config.seed, "recurrence", block),
        delays=config.delays,
        longest_delay=config.longest_delay,
        delay_draws=None if is_folded else generator(config.seed, "delays", block),
    )


def _own(config: RunConfig, *, is_folded: bool) -> Collection[str]:
    """Return which constants of the neurons each layer has for itself."""
    if config.time_rule == "conversion":
        return ("threshold",) if is_folded or config.rate_map == "qcfs" else ()
    return ("leak", "threshold") if config.neuron == "learned" else ()


def _rate_map(config: RunConfig, *, is_folded: bool) -> Callable[[], RateMap] | None:
    if config.time_rule != "conversion":
        return None
    if config.rate_map == "qcfs":
        return lambda: Clipped(config.quantisation_steps)
    if is_folded:
        return Clipped
    return Rectified if config.rate_map == "relu" else lambda: RateNorm(config.threshold)


def build_block(
    config: RunConfig,
    index: int,
    source: SignalSpec,
    classes: Sequence[int],
    *,
    is_folded: bool = False,
) -> Block:
    """Return block `index` (from 0) of a config with initial weights, an output per class."""
    builder = builder_of(config, block=index, is_folded=is_folded)
    first = sum(config.blocks[:index])
    units: list[UnitModule] = []
    signal = replace(source, kind="border") if source.kind == "neurons" else source
    for number, spec in enumerate(
        config.units[first : first + config.blocks[index]], start=first + 1
    ):
        unit = UnitModule(spec, config.width, signal, builder, f"unit{number}")
        units.append(unit)
        signal = unit.signal
    head = Head(signal, config.of_block(index), classes, builder, f"exit{index + 1}")
    block = Block(units, head, source, signal)
    if config.feedback == "last-to-first":
        add_feedback(
            block.first,
            signal.shape,
            spikes_per_unit=signal.spikes_per_unit,
            target=units[0].first_shape,
            draws=generator(config.seed, "feedback", index),
        )
    if config.time_rule == "encoder" and not is_folded:
        _learn_from_scores(block, config, index)
    for layer in layers_of(block):  # not readouts, whose inputs are mean spikes
        for conn in layer.arriving:
            conn.trained_in = getattr(torch, config.precision)
    return block


def _learn_from_scores(block: Block, config: RunConfig, index: int) -> None:
    """Give each layer its eligibilities, and hidden ones the feedback of code neurons."""
    draws = generator(config.seed, "code feedback", index)
    code = config.of_block(index).head_hidden
    for layer in layers_of(block):
        neurons = len(layer.sources[0].weight)
        back: Tensor | None = None
        if config.code_feedback == "random" and layer is not block.head.hidden:
            back = torch.randn(code, neurons, generator=draws) / math.sqrt(code)
        inputs = sum(conn.weight.shape[1] for conn in layer.arriving)
        layer.eligibility = Eligibility(neurons, inputs + 1, back)


def connections_of(module: nn.Module) -> list[Connections]:
    """Return all connections in a module, in a fixed order."""
    return [part for part in module.modules() if isinstance(part, Connections)]


def layers_of(module: nn.Module) -> list[Layer]:
    """Return all layers in a module, in a fixed order."""
    return [part for part in module.modules() if isinstance(part, Layer)]


@torch.no_grad()
def fold_for_inference(config: RunConfig, index: int, block: Block) -> Block:
    """Return the block with plain weights: norm folded in, removed connections at zero.

    Evaluation, weights files, graphs for other simulators and the training of later blocks
    use this form.
    """
    plain = build_block(config, index, block.source, block.head.classes, is_folded=True)
    plain.head.hard = block.head.hard
    if block.head.detector is not None:
        plain.head.add_detector(builder_of(config, block=index, is_folded=True))
    plain.to(next(block.parameters()).device)
    for old, new in zip(connections_of(block), connections_of(plain), strict=True):
        new.weight.copy_(old.folded()[0])
        if old.delays is not None and new.delays is not None:
            new.delays.position.copy_(old.delays.whole() / old.delays.longest)
    for layer, target in zip(layers_of(block), layers_of(plain), strict=True):
        if target.bias is None:  # pooling neurons have no parameters
            continue
        biases = [conn.folded()[1] for conn in layer.sources]
        parts = [bias for bias in [layer.bias, *biases] if bias is not None]
        target.bias.copy_(torch.stack(parts).sum(dim=0))
        if layer.thresholds is not None:
            for conn in target.arriving:
                rows = layer.thresholds.view(-1, *[1] * (conn.weight.dim() - 1))
                conn.weight.div_(rows)
            target.bias.div_(layer.thresholds)
        for name in ("leak", "threshold"):
            learned, kept = getattr(layer, name), getattr(target, name)
            if learned is not None:
                kept.copy_(learned)
    for readout, plain_readout in (
        (block.head.readout, plain.head.readout),
        (block.head.detector, plain.head.detector),
    ):
        if isinstance(readout, Readout) and isinstance(plain_readout, Readout):
            plain_readout.fold_from(readout)
    plain.eval().requires_grad_(False)
    return plain
