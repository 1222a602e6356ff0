"""Networks without time as networks of single spikes, exactly (Stanojevic et al. 2024, "B1").

Layers run one after another, each in a window of its own. While a layer waits, the potential of its
neurons sums the currents of all inputs that have fired; in its window the potential rises at the
same speed in every neuron. So it fires the earlier the higher it began, and an input that fired
at t counts with the rest of its window, which is its activation.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.readout import Readout
from snn.rules.conversion import Activations
from tests.snn.training.test_conversion import IMAGES, NETWORKS, converted

FEW = IMAGES[:, :3]


class SingleSpikes(Activations):
    """Simulates neurons that fire once at most, in windows of length 1 from event to event.

    A signal is (intervals, batch, ...): for each interval of a window its length for neurons that
    have fired by its beginning, else 0. `ticks` of a clock are the only moments at which neurons
    can fire; 0: they fire at any time.
    """

    def __init__(self, ticks: int = 0) -> None:
        self.ticks = ticks
        self.times: list[Tensor] = []  # of each layer, from the start of its window; inf: silent

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        assert layer.bias is not None
        v = layer.bias.view(-1, *[1] * (layer.sources[0].weight.dim() - 2))
        for conn, x in zip(layer.sources, inputs, strict=False):
            v = v + conn(x, batch.weight(conn)).sum(dim=0)
        if layer.skip is not None:
            v = v + layer.skip(inputs[-1]).sum(dim=0)
        assert layer.threshold is not None
        times = self._crossings(v, layer.threshold)
        self.times.append(times)
        return self._signal(times)

    def _crossings(self, v: Tensor, threshold: Tensor) -> Tensor:
        """When potentials that begin at v and rise by the threshold per window reach it."""
        if self.ticks == 0:
            return torch.where(v > 0, (1 - v / threshold).clamp(min=0), torch.inf)
        clock = self._clock(v)
        # half a tick early, so that a time is rounded and not cut
        has_crossed = v + threshold * (clock + 0.5 / self.ticks) >= threshold
        first = has_crossed.to(torch.int64).argmax(dim=0)
        return torch.where(has_crossed.any(dim=0), first.to(v.dtype) / self.ticks, torch.inf)

    def _clock(self, like: Tensor) -> Tensor:
        ticks = torch.arange(self.ticks, dtype=like.dtype) / self.ticks
        return ticks.view(-1, *[1] * like.dim())

    def _signal(self, times: Tensor) -> Tensor:
        if self.ticks:
            starts = self._clock(times)
        else:
            events = times[times.isfinite()].unique()
            starts = events.view(-1, *[1] * times.dim())
        ends = torch.cat([starts[1:], torch.ones_like(starts[:1])])
        return (times <= starts) * (ends - starts)

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        conn = readout.connections
        current: Tensor = conn(x, batch.weight(conn)).sum(dim=0, keepdim=True)
        return current + readout.bias


@torch.no_grad()
def outputs(network: Network, dynamics: Activations) -> Tensor:
    state = ForwardContext(dynamics=dynamics)
    return network.run(FEW, state, timesteps=1, wants=("logits",)).logits[-1][0]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_relu_network_is_one_of_single_spikes(name: str) -> None:
    """The window is the largest activation of the layer; pools and skips do not matter."""
    network, plain = converted(**NETWORKS[name], calibration="max")
    spiking = SingleSpikes()
    before, after = outputs(network, Activations()), outputs(plain, spiking)
    assert float((before - after).abs().max()) < 1e-12 * float(before.abs().max())
    has_fired = torch.cat([times.isfinite().flatten() for times in spiking.times])
    assert 0.1 < float(has_fired.double().mean()) < 0.9


def test_a_window_shorter_than_an_activation_clips_it() -> None:
    """The law would hold of anything if this were equal."""
    network, plain = converted(calibration="percentile", calibration_percentile=90.0)
    before = outputs(network, Activations())
    assert float((before - outputs(plain, SingleSpikes())).abs().max()) > 1e-3
    assert torch.allclose(
        outputs(plain, Activations()), outputs(plain, SingleSpikes()), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("levels", [2, 4, 7])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_quantised_network_is_one_of_single_spikes_on_a_clock(name: str, levels: int) -> None:
    """At any depth, unlike rates: as many ticks per layer as levels, one spike per neuron."""
    changes: dict[str, Any] = {"rate_map": "qcfs", "quantisation_steps": levels}
    network, plain = converted(**NETWORKS[name], **changes)
    ann = outputs(network, Activations())
    assert torch.allclose(outputs(plain, SingleSpikes(levels)), ann, rtol=0, atol=1e-12)
    assert float((outputs(plain, SingleSpikes()) - ann).abs().max()) > 1e-3
