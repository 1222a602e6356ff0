"""Delays of connections and axons against shifted inputs and a plain loop."""

from typing import Any

import pytest
import torch
from torch import Tensor

from snn.lif.surrogate import spike
from snn.network.blocks import connections_of, fold_for_inference, layers_of
from snn.network.connections import Connections
from snn.network.cost import OperationCounter, model_bytes
from snn.network.layers import ForwardContext
from snn.network.memory.delays import NARROW, Delays
from snn.network.network import Network
from snn.rules.loss import readout_loss
from snn.settings.config import ConfigError, RunConfig
from tests.snn.rules.test_rules import STEPS, TASK, batch_of, gradients, network_of
from tests.snn.training.test_train import SMALL, split_of, trained

LONGEST = 3
KINDS = ("connections", "axons")
SHAPES: dict[str, tuple[tuple[int, ...], dict[str, int], tuple[int, ...]]] = {
    "dense": ((5, 8), {}, (8,)),
    "convolution": ((6, 4, 3, 3), {"stride": 2}, (4, 7, 6)),
    "groups": ((6, 2, 3, 3), {"groups": 2}, (4, 5, 5)),
}


def delayed(kind: str, shape: str, draws: torch.Generator) -> tuple[Connections, Tensor]:
    """Connections with random delays, and inputs (time, batch, ...) in double precision."""
    weights, options, inputs = SHAPES[shape]
    own = weights[:2] if kind == "connections" else (weights[1] * options.get("groups", 1),)
    delays = Delays(kind, own, longest=LONGEST).draw(draws)
    conn = Connections(weights, generator=draws, delays=delays, **options).double()
    return conn, torch.randn(7, 2, *inputs, dtype=torch.float64, generator=draws)


def run(conn: Connections, x: Tensor, chunk: int) -> Tensor:
    assert conn.delays is not None
    state, parts, batch = None, [], ForwardContext()
    for part in x.split(chunk):
        long, state = conn.delays.joined(part, state)
        parts.append(conn(long, batch.weight(conn)))
    return torch.cat(parts)


def by_hand(conn: Connections, x: Tensor) -> Tensor:
    """Each connection's weight, its delay's share of each lag, and its input at that lag."""
    assert conn.delays is not None
    profile, total = conn.delays.profile(), torch.zeros(())
    for lag, share in enumerate(profile):
        late = torch.cat([torch.zeros_like(x[:lag]), x[: len(x) - lag]]).flatten(0, 1)
        weight = conn.weight
        if conn.delays.kind == "axons":
            late = late * share.view(-1, *[1] * (x.dim() - 3))
        else:
            weight = weight * share.view(*share.shape, *[1] * (weight.dim() - 2))
        total = total + conn.apply_weight(late, weight)
    return total.unflatten(0, x.shape[:2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_delay_of_d_is_an_input_shifted_by_d(
    kind: str, shape: str, draws: torch.Generator
) -> None:
    conn, x = delayed(kind, shape, draws)
    conn.eval()
    assert conn.delays is not None
    undelayed = Connections(conn.weight.shape, stride=conn.stride, groups=conn.groups).double()
    undelayed.load_state_dict({"weight": conn.weight.detach()})
    for steps in range(LONGEST + 1):
        with torch.no_grad():
            conn.delays.position.fill_(steps / LONGEST)
            plain = undelayed(x, undelayed.weight)
            late = run(conn, x, 7)
        assert late[:steps].count_nonzero() == 0
        assert torch.allclose(late[steps:], plain[: 7 - steps], rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_training", [True, False])
def test_currents_and_gradients_are_those_of_every_lag_by_hand(
    kind: str, shape: str, chunk: int, is_training: bool, draws: torch.Generator
) -> None:
    conn, x = delayed(kind, shape, draws)
    conn.train(is_training)
    x.requires_grad_()
    ours, theirs = run(conn, x, chunk), by_hand(conn, x)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    weight = torch.randn(ours.shape, dtype=torch.float64, generator=draws)
    assert conn.delays is not None
    wanted_of = [x, conn.weight, *([conn.delays.position] if is_training else [])]
    found = torch.autograd.grad((ours * weight).sum(), wanted_of)
    wanted = torch.autograd.grad((theirs * weight).sum(), wanted_of)
    for mine, plain in zip(found, wanted, strict=True):
        assert plain.abs().max() > 0
        assert (mine - plain).abs().max() < 1e-11


def test_the_gaussian_narrows_to_a_delay_that_is_whole_in_evaluation() -> None:
    delays = Delays("axons", (1,), longest=8)
    with torch.no_grad():
        delays.position.fill_(0.4)  # 3.2 timesteps
    at_first = delays.profile()
    assert at_first.sum().item() == pytest.approx(1)
    assert int(at_first.argmax()) == 3
    z = torch.arange(9) - 3.2
    assert torch.allclose(at_first[:, 0], torch.softmax(-z.square() / 2 / 4**2, 0), atol=1e-6)
    delays.settle(0.125)
    assert delays.width.item() == pytest.approx((4 * NARROW) ** 0.5)  # half of the way
    delays.settle(0.25)
    assert delays.width.item() == pytest.approx(NARROW)
    delays.settle(1.0)
    assert delays.width.item() == pytest.approx(NARROW)
    assert delays.profile()[3].item() > 0.6
    assert delays.eval().profile()[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    with torch.no_grad():
        delays.position.fill_(1.7)
    delays.settle(1.0)
    assert delays.whole().tolist() == [8]


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_without_delay_is_the_network_without_delays(kind: str) -> None:
    changes = {"backbone": "vgg5", "width": 4, "time_rule": "bptt"}
    plain = network_of(changes).eval()
    network = network_of({**changes, "delays": kind, "max_delay": LONGEST}).eval()
    network.load_state_dict(plain.state_dict(), strict=False)
    batch = batch_of(is_constant=False)
    with torch.no_grad():
        for conn in connections_of(network):
            if conn.delays is not None:
                conn.delays.position.zero_()
        ours, theirs = (
            n.run(batch.drive, ForwardContext(), timesteps=STEPS) for n in (network, plain)
        )
    assert (ours.logits[0] - theirs.logits[0]).abs().max() < 1e-12
    assert theirs.features[0].sum() > 0


@pytest.mark.parametrize("rule", ["bptt", "spike-bp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_delays_has_the_gradients_of_a_plain_loop(kind: str, rule: str) -> None:
    """Of spike-bp those of weights behind the delays: its own derivative is not autograd's."""
    changes: dict[str, Any] = {"backbone": "mlp2", "width": 12, "head_hidden": 0}
    changes |= {"time_rule": rule, "delays": kind, "max_delay": LONGEST}
    if rule == "spike-bp":
        changes |= {"reset": "hard", "leak": 0.9}
    network = network_of(changes)
    batch = batch_of(is_constant=False, loss="mean-readout")
    ours = gradients(network, rule, batch)
    assert all(name in ours for name in dict(network.named_parameters()))
    if rule == "spike-bp":
        assert all(float(grad.abs().max()) > 0 for name, grad in ours.items() if "delays" in name)
        return
    head, x = network.block(0).head.readout, batch.drive.flatten(2)
    for layer in layers_of(network):
        assert layer.bias is not None
        v, spikes = torch.zeros(5, 12, dtype=torch.float64), []
        for current in by_hand(layer.sources[0], x):
            h = 0.5 * v + current + layer.bias
            s = spike(h - 1, layer.lif.surrogate, layer.lif.slope)
            v = h - s.detach()
            spikes.append(s)
        x = torch.stack(spikes)
    logits = x @ head.connections.weight.T + head.bias
    network.zero_grad(set_to_none=True)
    readout_loss(logits, batch.labels, loss="mean-readout").backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert (ours[name] - parameter.grad).abs().max() < 1e-12, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_operations_count_where_and_when_a_spike_arrives(kind: str) -> None:
    """Against a loop over every connection that exists, in a network with removed ones."""
    changes = {"backbone": "mlp2", "width": 6, "head_hidden": 0, "time_rule": "bptt"}
    config_of = network_of({**changes, "delays": kind, "max_delay": LONGEST})
    network = Network(config_of.config, TASK)
    network.blocks.append(fold_for_inference(config_of.config, 0, config_of.block(0)))
    network.double()
    _, second = layers_of(network)
    (conn,) = second.sources
    with torch.no_grad():
        conn.weight[::2, ::3] = 0
    counter, batch = OperationCounter(), batch_of(is_constant=False)
    sent: list[Tensor] = []

    class Both(OperationCounter):
        def layer(self, layer: Any, inputs: Any, spikes: Tensor) -> None:
            counter.layer(layer, inputs, spikes)
            sent.append(spikes)

    with torch.no_grad():
        network.run(batch.drive, ForwardContext(observer=Both()), timesteps=STEPS)
    first = sent[0]
    assert conn.delays is not None
    whole = conn.delays.whole().expand(conn.weight.shape)
    wanted = torch.zeros(STEPS, 5, dtype=torch.float64)
    for out, source in (conn.weight != 0).nonzero().tolist():
        late = int(whole[out, source])
        wanted[late:] += first[: STEPS - late, :, source]
    assert wanted.sum() > 0
    assert torch.equal(torch.cat(counter.accumulates[second]), wanted)


def test_stored_delays_take_the_bits_of_the_longest() -> None:
    changes = {"backbone": "mlp", "width": 6, "head_hidden": 0, "time_rule": "bptt"}
    sizes = {}
    for kind in ("none", *KINDS):
        network = network_of({**changes, "delays": kind, "max_delay": LONGEST})
        folded = fold_for_inference(network.config, 0, network.block(0))
        with torch.no_grad():
            folded.first.sources[0].weight[0, :100] = 0
        sizes[kind] = model_bytes([folded])
    inputs = 2 * 8 * 8
    assert sizes["axons"] - sizes["none"] == 2 * inputs / 8
    assert sizes["connections"] - sizes["none"] == 2 * (6 * inputs - 100) / 8


def test_a_constant_image_and_outputs_have_none_and_weights_are_drawn_as_without() -> None:
    changes = {"backbone": "vgg5", "width": 4, "encoding": "direct", "time_rule": "bptt"}
    changes["readout"] = "spiking"
    plain, network = network_of(changes), network_of({**changes, "delays": "axons"})
    assert [layer.sources[0].delays is None for layer in layers_of(network)] == [
        True,
        *[False] * (len(layers_of(network)) - 2),
        True,
    ]
    for ours, theirs in zip(connections_of(network), connections_of(plain), strict=True):
        assert torch.equal(ours.weight, theirs.weight)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space_rule", ["block-local", "end-to-end"])
def test_delays_are_learned_rounded_and_stored(kind: str, space_rule: str, tmp_path: Any) -> None:
    from snn.training.checkpoint import load, save

    config = SMALL.replace(
        encoding="poisson",
        timesteps=8,
        delays=kind,
        epochs=2,
        width=4,
        space_rule=space_rule,
        target_sparsity=0.5,
    )
    training = trained(config)
    assert config.longest_delay == 2
    found = [c.delays for c in connections_of(training.network) if c.delays is not None]
    whole = torch.cat([delays.whole().flatten() for delays in found])
    assert set(whole.tolist()) == {0, 1, 2}
    for delays in found:
        assert torch.equal(delays.position, delays.whole() / 2)
    save(training.trained, tmp_path / "weights")
    loaded = load(tmp_path / "weights").network
    draws = torch.Generator().manual_seed(0)
    shape = split_of(config).image_shape
    drive = torch.randint(-1, 2, (8, 9, *shape), generator=draws).float()
    with torch.no_grad():
        ours, theirs = (
            n.run(drive, ForwardContext(), timesteps=8).logits[-1]
            for n in (training.network, loaded)
        )
    assert torch.equal(ours, theirs)


def test_a_longest_delay_follows_from_the_timesteps_and_ends_before_them() -> None:
    assert RunConfig(delays="axons", timesteps=100).longest_delay == 25
    assert RunConfig(delays="axons", timesteps=100, max_delay=7).longest_delay == 7
    assert RunConfig(max_delay=7) == RunConfig()
    with pytest.raises(ConfigError, match=r"max_delay must be below timesteps \(4\).* got 4"):
        RunConfig(delays="axons", max_delay=4)
