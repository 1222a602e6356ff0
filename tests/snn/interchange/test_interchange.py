"""NIR: other simulators run our networks spike for spike, and we run theirs."""

import copy
import functools
import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.nir_agreement import NETWORKS, Agreement, agreements, trained
from benchmarks.simulators import SIMULATORS
from snn.evaluation.evaluate import evaluate, infer, sampled_setting
from snn.evaluation.recording import record
from snn.interchange import InterchangeError, files
from snn.interchange.bundle import write_all
from snn.interchange.description import UNKNOWN, Description, Measured, stated_dt
from snn.interchange.measure import description_of, measure
from snn.interchange.nodes import state_of
from snn.interchange.simulation import Simulation
from snn.interchange.wiring import Form, graphs, inexpressible, neuron_names
from snn.network.blocks import build_block, fold_for_inference
from snn.network.network import Network, Task, input_signal
from snn.network.trained import History, Images, Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikefront[nir]'")

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "simulators.md"
EVERYWHERE = ("mlp2 poisson", "vgg5 hard reset, leak 0.9", "vgg5 early firing")
WITH_SKIPS = (
    "vgg5 converted",
    "resnet7 exits",
    "resnet5 sparse",
    "vgg5 spiking pools",
    "bottleneck, separable",
    "vgg5 synapses, hard reset",
    "mlp2 recurrence",
    "vgg5 recurrence, hard reset",
)
OWN_LEAKS = ("vgg5 individual", "mlp2 own leaks, hard reset")
OURS = {
    **NETWORKS,
    "vgg5 individual": {"backbone": "vgg5", "neuron": "individual", "leak_spread": 3.0},
    "mlp2 learned": {"backbone": "mlp2", "width": 32, "neuron": "learned"},
    "mlp2 own leaks, hard reset": {
        "backbone": "mlp2",
        "width": 32,
        "neuron": "leaks",
        "leak": 0.8,
        "leak_spread": 2.0,
        "reset": "hard",
    },
    "vgg5 synapses": {"backbone": "vgg5", "synaptic_leak": 0.6},
    "vgg5 synapses, hard reset": {"backbone": "vgg5", "synaptic_leak": 0.6, "reset": "hard"},
    "vgg5 delays": {"backbone": "vgg5", "delays": "connections", "encoding": "poisson"},
    "resnet5 delays of axons": {"backbone": "resnet5", "delays": "axons", "max_delay": 2},
    "mlp2 recurrence": {"backbone": "mlp2", "width": 32, "recurrence": "1x1"},
    "vgg5 recurrence, synapses": {
        "backbone": "vgg5",
        "recurrence": "3x3",
        "synaptic_leak": 0.6,
        "target_sparsity": 0.3,
        "rewiring_every": 1,
    },
    "vgg5 recurrence, hard reset": {"backbone": "vgg5", "recurrence": "1x1", "reset": "hard"},
    "resnet11 synapses": {"backbone": "resnet11", "synaptic_leak": 0.6, "reset": "hard"},
    "bottleneck, separable": {
        "architecture": "s6p b8/2 b8i",
        "partition": "1+2",
        "pooling": "spiking",
    },
}
HISTORY = History(memory_bytes=(1,), training_s=(0.0,), parameters=(1,))


@functools.cache
def network_of(name: str) -> tuple[Network, Images]:
    return trained({**OURS[name], "train_images": 100, "validation_fraction": 0.1})


def of_digits(config: RunConfig) -> Network:
    """A network that is folded, but not trained."""
    task = Task(image_shape=(1, 8, 8), classes=10)
    network, signal = Network(config, task), input_signal(config, task)
    for index in range(config.exits):
        block = fold_for_inference(config, index, build_block(config, index, signal, range(10)))
        network.blocks.append(block)
        signal = block.signal
    return network.eval()


def graph_of(network: Network, path: Path) -> Any:
    """The deepest exit's graph, through a file."""
    files.write(graphs(network, mean=None, std=None)[-1].graph, path)
    return files.read(path)


# ---- export


def agreed(name: str, simulator: str, form: Form) -> list[Agreement]:
    theirs = SIMULATORS[simulator]
    if theirs.missing:
        pytest.skip(f"{', '.join(theirs.missing)} not installed: make setup")
    network, images = network_of(name)
    return agreements(network, images, theirs, form=form)


@pytest.mark.parametrize(
    ("simulator", "form", "name"),
    [
        *(("snntorch", "plain", name) for name in (*EVERYWHERE, *WITH_SKIPS, *OWN_LEAKS)),
        *(("spikingjelly", "plain", name) for name in (*EVERYWHERE, *WITH_SKIPS)),
        *(("norse", "norse", name) for name in (*EVERYWHERE, *OWN_LEAKS)),
        ("norse-nirtorch", "norse", "resnet5 sparse"),
    ],
)
def test_every_layer_sends_the_same_spikes_in_other_simulators(
    simulator: str, form: Form, name: str
) -> None:
    found = agreed(name, simulator, form)
    assert len(found) == network_of(name)[0].config.exits
    for exit_graph in found:
        assert exit_graph.spikes > 300
        assert exit_graph.layers == dict.fromkeys(exit_graph.layers, 0)
        assert exit_graph.output_distance < 1e-5


def test_norse_takes_r_of_a_lif_for_1_which_the_comparison_sees() -> None:
    (found,) = agreed("mlp2 hard reset", "norse", "plain")
    assert found.differing > 100
    (found,) = agreed("mlp2 hard reset", "norse", "norse")
    assert found.differing == 0


def test_exported_weights_are_unchanged_and_sparse() -> None:
    network, _ = network_of("resnet5 sparse")
    made = graphs(network, mean=None, std=None)[0].graph
    weights = [node.weight for node in made.nodes.values() if isinstance(node, nir.Conv2d)]
    first = network.block(0).first.sources[0].weight.numpy()
    assert any(np.array_equal(first, weight) for weight in weights)
    alive = sum(np.count_nonzero(w) for name, w in _trained_weights(made).items())
    possible = sum(w.size for w in _trained_weights(made).values())
    assert alive / possible < 0.25


def _trained_weights(graph: Any) -> dict[str, Any]:
    """Without the connections that only reset."""
    return {
        name: node.weight
        for name, node in graph.nodes.items()
        if hasattr(node, "weight") and not name.endswith("_reset")
    }


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"pooling": "max"}, "pooling 'max' has no NIR node .* use pooling 'average' or 'spiking'"),
        ({"adaptation": 0.2}, r"adaptation has no NIR node .* got 0\.2; use adaptation 0"),
        ({"feedback": "last-to-first"}, "feedback 'last-to-first' has no NIR node .* use feedback"),
        (
            {"partition": "1+1", "block_classes": "hard"},
            "detector 'head' needs a second readout.* use detector 'mass' or 'predicted'",
        ),
    ],
)
def test_a_part_without_a_nir_node_is_refused_by_name(
    changes: Mapping[str, Any], fault: str
) -> None:
    config = RunConfig(backbone="resnet5", width=2, **changes)
    with pytest.raises(InterchangeError, match=fault):
        graphs(of_digits(config), mean=None, std=None)


def test_every_part_without_a_nir_node_is_refused_at_once() -> None:
    config = RunConfig(backbone="resnet5", pooling="max", feedback="last-to-first")
    assert len(inexpressible(config)) == 2


def test_each_exit_is_a_graph_with_the_node_that_it_reads(tmp_path: Path) -> None:
    network, _ = network_of("resnet7 exits")
    names = write_all(network, tmp_path, mean=(0.3,), std=(0.4,))
    assert names == ["network.nir", "network-exit2.nir", "network-exit1.nir", "network.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    plan = (tmp_path / "network.json").read_text()
    for part in ('"reads": "unit1_pool2"', '"reads": "unit3_conv2"', '"confidence_threshold": 0.9'):
        assert part in plan
    for name in names[:-1]:
        about = description_of(files.read(tmp_path / name))
        assert about is not None
        assert about.mean == (0.3,)


def test_the_plan_of_exits_is_enough_to_decide_as_the_network_does(tmp_path: Path) -> None:
    """Run exit after exit by network.json; an image stops at the first confident exit."""
    trained_one, images = network_of("resnet7 exits")
    network = copy.copy(trained_one)  # each threshold is the median confidence of its exit
    confidence = record(network, images).confidence[:2, -1]
    middle = tuple(float(np.median(of_exit)) for of_exit in confidence)
    network.config = network.config.replace(exit_threshold=middle)
    write_all(network, tmp_path, mean=None, std=None)
    plan = json.loads((tmp_path / "network.json").read_text())
    assert (plan["exit_combination"], plan["detector"]) == ("nested", "none")
    drive, _ = next(images.batches(network.config))
    labels = torch.full((drive.shape[1],), -1)
    exits = torch.zeros(drive.shape[1], dtype=torch.int64)
    for exit_ in plan["exits"]:
        graph = files.read(tmp_path / exit_["file"])
        outputs = Simulation(graph, dt_s=plan["dt_s"]).run(drive, timesteps=plan["timesteps"])[0]
        confidence, label = outputs.mean(dim=0).softmax(dim=1).max(dim=1)
        threshold = exit_["confidence_threshold"]
        sure = (labels < 0) & (confidence >= (0 if threshold is None else threshold))
        labels[sure], exits[sure] = label[sure], exit_["exit"]
    decided = infer(network, images, sampled_setting(network.config, 3))
    assert set(exits.tolist()) == {1, 2, 3}
    assert labels.tolist() == decided.labels.tolist()
    assert exits.tolist() == decided.exits.tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_page_s_code_decides_as_the_network_does(place: int, tmp_path: Path) -> None:
    """The code of docs/how-to/simulators.md, simulator by simulator in its order."""
    simulator = list(SIMULATORS.values())[(0, 1, 3, 2)[place]]
    if simulator.missing:
        pytest.skip(f"{', '.join(simulator.missing)} not installed: make setup")
    network, images = network_of("vgg5 early firing")
    form: Form = "norse" if simulator.name.startswith("norse") else "plain"
    mean, std = images.mean.flatten().tolist(), images.std.flatten().tolist()
    write_all(network, tmp_path, mean=mean, std=std, form=form)
    first, *others = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    scope: dict[str, Any] = {"folder": str(tmp_path)}
    exec("import nir\n" + first, scope)
    ours = SimpleNamespace(target=images.labels.numpy())
    scope |= {"images": images.images.numpy(), "digits": ours, "print": lambda *_: None}
    exec(re.sub('folder = ".*"', f"folder = {str(tmp_path)!r}", others[place]), scope)
    setting = sampled_setting(network.config, 1)
    assert scope["labels"].tolist() == infer(network, images, setting).labels.tolist()


# ---- import


@pytest.mark.parametrize(
    "name",
    [
        "resnet5 sparse",
        "vgg5 spiking readout",
        "vgg5 spiking pools",
        "mlp2 poisson",
        "vgg5 synapses",
        "resnet11 synapses",
        "mlp2 recurrence",
        "vgg5 recurrence, synapses",
        "vgg5 recurrence, hard reset",
        *OWN_LEAKS,
        "mlp2 learned",
    ],
)
def test_a_graph_of_ours_is_measured_as_the_network_is(name: str, tmp_path: Path) -> None:
    """Every metric is equal: borders, strides, pools, skips, and resets that are not synapses.

    Synaptic currents of two sources are summed in another order: rounding moves a few spikes.
    Stored bytes were without the learned constants, which a graph has once for each neuron.
    """
    network, images = network_of(name)
    graph = graph_of(network, tmp_path / "network.nir")
    about = description_of(graph)
    assert about is not None
    rel = 1e-3 if name == "vgg5 recurrence, synapses" else 0
    measured = measure(graph, images, about)
    points = evaluate(Trained(network=network, history=HISTORY), images)
    for metric in METRICS.keys() - {"parameters", *UNKNOWN}:
        same = pytest.approx(
            points.sampled.metrics[metric], rel=rel, abs=0, nan_ok=True
        )  # images have no time
        assert measured.metrics[metric] == same, metric
    assert measured.images == points.images
    assert sum(layer.synaptic_ops for layer in measured.layers) == pytest.approx(
        measured.metrics["synaptic_ops"]
    )


@pytest.mark.parametrize("name", OWN_LEAKS)
def test_each_neuron_s_leak_is_the_time_constant_of_its_node(name: str, tmp_path: Path) -> None:
    """tau = dt / (1 - leak), of the CubaLIF's current where the reset is soft."""
    network, _ = network_of(name)
    graph = graph_of(network, tmp_path / "network.nir")
    for layer, node in neuron_names(network, 1):
        assert layer.leak is not None
        kept, made = layer.leak.numpy().astype(np.float64), graph.nodes[node]
        tau = made.tau if isinstance(made, nir.LIF) else made.tau_syn
        of_first = tau.reshape(len(kept), -1)[:, 0]
        assert len(np.unique(kept)) > 3
        assert 1 - graph.metadata["dt"] / of_first == pytest.approx(kept, abs=1e-7)
        if not isinstance(made, nir.LIF):
            back = graph.nodes[f"{node}_reset"].weight.reshape(len(kept), len(kept))
            assert np.array_equal(np.diag(back), -kept.astype(np.float32))


@pytest.mark.parametrize("name", ["vgg5 delays", "resnet5 delays of axons"])
def test_delayed_spikes_arrive_and_count_as_in_the_network(name: str, tmp_path: Path) -> None:
    """Delays are nodes of the graph: its stored bytes are its own."""
    network, images = network_of(name)
    graph = graph_of(network, tmp_path / "network.nir")
    late = [node.delay for node in graph.nodes.values() if isinstance(node, nir.Delay)]
    assert len(np.unique(np.concatenate([d.flatten() for d in late]).round(6))) > 1
    about = description_of(graph)
    assert about is not None
    measured = measure(graph, images, about)
    ours = evaluate(Trained(network=network, history=HISTORY), images).points[0].metrics
    for metric in ("accuracy", "spikes_per_inference", "synaptic_ops", "macs", "input_events"):
        assert measured.metrics[metric] == ours[metric], metric
    assert ours["spikes_per_inference"] > 20


def test_each_value_has_its_own_delay() -> None:
    state = state_of(nir.Delay(np.array([0.0, 3e-4, 1e-4])), 1e-4)
    sent = torch.arange(1, 6).float()[:, None, None].expand(5, 1, 3)
    arrived = torch.stack([state(x) for x in sent])[:, 0].T
    assert arrived.tolist() == [[1, 2, 3, 4, 5], [0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]


@pytest.mark.filterwarnings("ignore:nirtorch:DeprecationWarning")
def test_a_graph_that_snntorch_wrote_decides_as_snntorch_does(tmp_path: Path) -> None:
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed: make setup")
    from snntorch.export_nir import export_to_nir
    from snntorch.utils import reset

    def leaky(neurons: int) -> Any:
        beta, threshold = torch.full((neurons,), 0.8), torch.ones(neurons)
        return snntorch.Leaky(
            beta=beta,
            threshold=threshold,
            init_hidden=True,
            reset_mechanism="zero",
            reset_delay=False,
        )

    theirs = nn.Sequential(nn.Linear(64, 30), leaky(30), nn.Linear(30, 10), leaky(10))
    graph = export_to_nir(theirs, torch.rand(1, 64), ignore_dims=[0])
    files.write(graph, tmp_path / "theirs.nir")
    x, steps = torch.rand(40, 64) * 3, 9
    reset(theirs)
    with torch.no_grad():
        expected = torch.stack([theirs(x) for _ in range(steps)])
    simulation = Simulation(files.read(tmp_path / "theirs.nir"), dt_s=1e-4)
    outputs, are_spikes, spent = simulation.run(x.unsqueeze(0), timesteps=steps)
    assert are_spikes
    assert expected.sum() > 100
    assert torch.equal(outputs, expected)
    hidden = simulation.populations[0]
    assert spent.accumulates[simulation.sources[simulation.populations[1]][0]].sum() == (
        10 * spent.spikes[hidden].sum()
    )


def test_a_graph_that_spikingjelly_wrote_decides_as_spikingjelly_does(tmp_path: Path) -> None:
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed: make setup")
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    def lif() -> Any:
        return neuron.LIFNode(tau=4.0, decay_input=True, v_threshold=0.3, v_reset=0.0)

    theirs = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1),
        lif(),
        layer.AvgPool2d(2, 2),
        layer.Flatten(),
        layer.Linear(64, 10),
        lif(),
    )
    path = tmp_path / "theirs.nir"
    nir_exchange.export_to_nir(theirs, torch.rand(1, 1, 8, 8), save_path=path, dt=1e-4)
    functional.reset_net(theirs)
    x, steps = torch.rand(20, 1, 8, 8) * 4, 9
    with torch.no_grad():
        expected = torch.stack([theirs(x) for _ in range(steps)])
    simulation = Simulation(files.read(path), dt_s=1e-4)
    outputs, are_spikes, _ = simulation.run(x.unsqueeze(0), timesteps=steps)
    assert are_spikes
    assert expected.sum() > 50
    # it computes v + (x - v) / tau, which rounds otherwise
    assert (outputs != expected).double().mean() < 0.01


def lif(neurons: int = 1, **changes: float) -> Any:
    """Neurons with a threshold of 0.5 that forget their potential at each step of 0.1 ms."""
    values = {"tau": 1e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0} | changes
    return nir.LIF(**{name: np.full(neurons, value) for name, value in values.items()})


def linear(*rows: Any) -> Any:
    return nir.Linear(weight=np.array(rows, dtype=np.float32))


def wired(parts: Mapping[str, Any], *edges: str, shape: tuple[int, ...] = (1,)) -> Any:
    """A graph of nodes and of edges like `in>lif`; `in` and `out` are added."""
    ends = {"in": nir.Input({"input": np.array(shape)})}
    out = parts.get("out") or nir.Output({"output": np.array(shape)})
    pairs = [(a, b) for a, b in (edge.split(">") for edge in edges)]
    return nir.NIRGraph({**ends, **parts, "out": out}, pairs, type_check=False)


def ran(graph: Any, drive: Tensor, *, timesteps: int, dt_s: float = 1e-4) -> Tensor:
    """Outputs (time, neurons) for one image."""
    outputs, _, _ = Simulation(graph, dt_s=dt_s).run(drive, timesteps=timesteps)
    return outputs[:, 0]


def test_neurons_follow_nir_s_equations() -> None:
    """By hand, in steps of 1 ms: a LIF with tau 4 ms, R 2, v_leak 1, threshold 2, reset 0.5."""
    cell = lif(tau=4e-3, r=2, v_leak=1, v_threshold=2, v_reset=0.5)
    v, expected = 0.0, []
    for _ in range(12):
        v += (1 - v + 2 * 1.5) / 4
        expected.append(float(v > 2))
        v = 0.5 if v > 2 else v
    graph = wired({"lif": cell}, "in>lif", "lif>out")
    outputs = ran(graph, torch.full((1, 1, 1), 1.5), timesteps=12, dt_s=1e-3)
    assert 0 < sum(expected) < 12
    assert outputs.flatten().tolist() == expected


def test_a_loop_arrives_a_timestep_later_and_its_operations_count() -> None:
    """Two neurons drive each other; connections of each with itself would be a reset.

    What the last spike sends arrives after the run.
    """
    parts = {"lif": lif(2), "swap": linear([0, 1], [1, 0])}
    graph = wired(parts, "in>lif", "lif>swap", "swap>lif", "lif>out", shape=(2,))
    simulation = Simulation(graph, dt_s=1e-4)
    drive = torch.zeros(4, 1, 2)
    drive[0, 0, 0] = 1
    outputs, _, spent = simulation.run(drive, timesteps=4)
    assert outputs[:, 0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert spent.accumulates["swap"].tolist() == [3]
    assert simulation.resets == frozenset()


@pytest.mark.parametrize("names", ["abrs", "srba", "bars", "rsab"])
def test_connections_out_of_a_loop_are_not_late_whatever_nodes_are_called(names: str) -> None:
    """Neurons with a recurrent connection, and two ways to the next neurons: both at once."""
    recurrent, back, straight, skip = (f"node_{name}" for name in names)
    parts = {recurrent: lif(), back: linear([0.0]), straight: linear([0.3]), skip: linear([0.3])}
    graph = wired(
        {**dict(sorted(parts.items())), "last": lif()},
        f"in>{recurrent}", f"{recurrent}>{back}", f"{back}>{recurrent}",
        f"{recurrent}>{straight}", f"{straight}>last", f"{recurrent}>{skip}", f"{skip}>last",
        "last>out",
    )  # fmt: skip
    drive = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(4, 1, 1)
    assert ran(graph, drive, timesteps=4).flatten().tolist() == [1, 0, 1, 0]


def random_graph(generator: np.random.Generator, names: list[str]) -> Any:
    """Six populations, connected at random with loops, and an input to the first ones."""
    cells, edges, parts = names[:6], ["in>" + names[6]], {}
    for name in cells:
        parts[name] = lif(2)
    parts[names[6]] = linear([1.2, 0.1], [0.3, 0.9])
    edges += [f"{names[6]}>{cell}" for cell in cells[:2]]
    pairs = [(a, b) for a in range(6) for b in range(6) if generator.random() < 0.3]
    pairs += [(a, a + 1) for a in range(5)]  # so that the output is reached
    for place, (a, b) in enumerate(dict.fromkeys(pairs)):
        name = names[7 + place]
        parts[name] = nir.Linear(generator.normal(size=(2, 2)).astype(np.float32))
        edges += [f"{cells[a]}>{name}", f"{name}>{cells[b]}"]
    edges.append(f"{cells[5]}>out")
    order = sorted(parts)  # as a file has them
    return wired({name: parts[name] for name in order}, *sorted(edges), shape=(2,))


@pytest.mark.parametrize("seed", range(20))
def test_names_of_nodes_change_no_output_and_no_operation(seed: int) -> None:
    found = []
    drive = torch.rand(8, 1, 2, generator=torch.Generator().manual_seed(seed))
    for shuffle in range(3):
        generator = np.random.default_rng(shuffle)
        names = [f"n{place:02}" for place in generator.permutation(50)]
        graph = random_graph(np.random.default_rng(seed), names)
        outputs, _, spent = Simulation(graph, dt_s=1e-4).run(drive, timesteps=8)
        operations = sorted(float(count.sum()) for count in spent.accumulates.values())
        found.append((outputs.tolist(), operations))
    assert found[0] == found[1] == found[2]


def test_neurons_with_only_their_own_input_run_from_zero_input() -> None:
    parts = {"w": linear([1.0]), "self": lif(v_leak=1.0), "back": linear([-2.0]), "last": lif()}
    edges = ("in>w", "w>last", "self>back", "back>self", "self>last", "last>out")
    outputs = ran(wired(parts, *edges), torch.zeros(1, 1, 1), timesteps=4)
    assert outputs.flatten().tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("outer", "inner"), [("inner", "linear"), ("a", "b.c"), ("a.b", "c")])
def test_a_nested_graph_runs_as_if_it_were_written_out(outer: str, inner: str) -> None:
    """Also where a node of the outer graph has the name that a nested node would get."""
    nested = wired({inner: linear([2.0])}, f"in>{inner}", f"{inner}>out")
    other = f"{outer}.{inner}"
    parts = {outer: nested, other: linear([10.0])}
    graph = wired(parts, f"in>{outer}", f"{outer}>out", f"in>{other}", f"{other}>out")
    outputs = ran(graph, torch.full((1, 1, 1), 0.5), timesteps=2)
    assert outputs.tolist() == [[6.0], [6.0]]
    nested = wired({"x": linear([1.0]), "end": nir.Output({"output": np.array([1])})}, "in>x")
    with pytest.raises(
        InterchangeError, match="its graph 'sub' must have one Input and one Output"
    ):
        Simulation(wired({"sub": nested}, "in>sub", "sub>out"), dt_s=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("name", ["tau", "r", "v_leak", "v_threshold", "v_reset"])
def test_parameters_that_are_not_finite_are_refused_with_their_node(
    name: str, value: float
) -> None:
    graph = wired({"cell": lif(**{name: value})}, "in>cell", "cell>out")
    with pytest.raises(InterchangeError, match=f"^node 'cell': {name} must be finite .*, got "):
        Simulation(graph, dt_s=1e-4)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (lif(tau=0), "tau must be above 0, got 0"),
        (lif(tau=-1e-3), r"tau must be above 0, got -0\.001"),
        (lif(tau=1e-5), r"tau must be at least one timestep of 0\.0001 s, got 1e-05 s; .* --dt"),
        (linear([math.nan]), "weight must be finite in single precision, got nan"),
        (nir.Affine(np.ones((1, 1)), np.array([math.inf])), "bias must be finite"),
        (nir.Scale(np.array([math.nan])), "scale must be finite"),
        (nir.Threshold(np.array([math.nan])), "threshold must be finite"),
        (nir.Delay(np.array([math.nan])), "delay must be finite"),
        (nir.Delay(np.array([-1e-4])), r"delay must be at least 0, got -0\.0001"),
        (nir.Linear(np.array([["a"]])), "weight must be real numbers, got <U1"),
    ],
)
def test_parameters_that_cannot_run_are_refused_with_their_node(node: Any, message: str) -> None:
    with pytest.raises(InterchangeError, match=f"^node 'x': {message}"):
        Simulation(wired({"x": node}, "in>x", "x>out"), dt_s=1e-4)


def test_every_fault_of_a_graph_is_reported_at_once() -> None:
    parts = {"a": lif(tau=0, r=math.nan), "w": linear([math.inf])}
    with pytest.raises(InterchangeError) as caught:
        Simulation(wired(parts, "in>a", "a>w", "w>out"), dt_s=1e-4)
    assert str(caught.value).count("\n") == 2


def test_a_node_without_a_target_is_named(tmp_path: Path) -> None:
    """The package nir gives it an Output node of its own when the file is read."""
    parts = {"a": lif(), "dead": lif()}
    files.write(wired(parts, "in>a", "a>out", "in>dead"), tmp_path / "x.nir")
    message = r"one Output node, got 2 \(out, output_dead\); a node without a target counts as one"
    with pytest.raises(InterchangeError, match=message):
        Simulation(files.read(tmp_path / "x.nir"), dt_s=1e-4)


def test_a_loop_without_neurons_is_refused() -> None:
    parts = {"a": linear([1.0]), "b": linear([1.0])}
    with pytest.raises(InterchangeError, match=r"a loop without neurons \(a, b\)"):
        Simulation(wired(parts, "in>a", "a>b", "b>a", "b>out"), dt_s=1e-4)


def test_grouped_convolutions_are_read_and_run(tmp_path: Path) -> None:
    """nir's type check refuses them, because it takes the channels of a group for all."""
    weight = np.arange(8, dtype=np.float32).reshape(4, 2, 1, 1)
    conv = nir.Conv2d(
        input_shape=(2, 2), weight=weight, stride=1, padding=0, dilation=1, groups=2,
        bias=np.zeros(4, np.float32),
    )  # fmt: skip
    graph = wired({"conv": conv}, "in>conv", "conv>out", shape=(4, 2, 2))
    files.write(graph, tmp_path / "x.nir")
    x = torch.rand(1, 1, 4, 2, 2)
    found = ran(files.read(tmp_path / "x.nir"), x, timesteps=1)
    expected = nn.functional.conv2d(x[0], torch.from_numpy(weight), groups=2)
    assert torch.equal(found, expected[0:1].reshape(found.shape))


ABOUT: dict[str, Any] = {
    "dataset": "digits", "encoding": "direct", "mean": None, "std": None, "timesteps": 2,
    "trained_timesteps": 2, "readout": "", "readout_leak": 1.0, "classes": tuple(range(10)),
    "votes": 1, "exit": 1, "seed": 0, "validation_fraction": 0.2, "train_images": 0,
}  # fmt: skip


def measured(*parts: Any, inputs: int = 64, outputs: int = 10) -> Measured:
    """A chain of nodes, measured on the images of digits."""
    ends = {"out": nir.Output({"output": np.array([outputs])})}
    named = {f"n{place}": part for place, part in enumerate(parts)}
    names = ["in", *named, "out"]
    edges = [f"{a}>{b}" for a, b in pairwise(names)]
    graph = wired(named | ends, *edges, shape=(inputs,))
    return measure(graph, network_of("mlp2 poisson")[1], Description(**ABOUT))


def test_a_graph_that_never_spikes_hints_at_the_timestep() -> None:
    weights = nir.Linear(np.ones((10, 64), np.float32))
    silent = measured(weights, lif(10, v_threshold=1e6))
    assert silent.notes == (
        "no neuron spiked in 2 timesteps of 0.0001 s; the graph may need another timestep: set it "
        "with --dt",
    )
    assert measured(weights, lif(10)).notes == ()


@pytest.mark.parametrize(
    ("parts", "sizes", "message"),
    [
        (
            [nir.Linear(np.ones((10, 9), np.float32))],
            {"inputs": 9},
            "its input has shape 9, but images of digits have shape 1x8x8; choose the data set",
        ),
        (
            [nir.Linear(np.ones((20, 64), np.float32))],
            {"outputs": 20},
            "it has 20 outputs, but digits needs 10, 1 for each of 10 classes; choose the data",
        ),
        (
            [nir.Linear(np.full((10, 64), 1e38, np.float32)), nir.Scale(np.full(10, 1e38))],
            {},
            "its outputs become infinite or nan, so that no class is predicted",
        ),
    ],
)
def test_a_graph_that_does_not_fit_its_data_is_refused(
    parts: list[Any], sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(InterchangeError, match=message):
        measured(*parts, **sizes)


@pytest.mark.parametrize(
    ("dt", "found"),
    [(1e-3, 1e-3), (np.array(2e-3), 2e-3), ("nan", None), (-1.0, None), ("1 ms", None)],
)
def test_the_timestep_in_the_metadata_is_read(dt: object, found: float | None) -> None:
    graph = wired({"a": lif()}, "in>a", "a>out")
    assert stated_dt(graph) is None
    graph.metadata = {"dt": dt}
    assert stated_dt(graph) == found


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nir").write_text("not HDF5")
    with pytest.raises(InterchangeError, match=r"x\.nir: must be a NIR graph, got a file that"):
        files.read(tmp_path / "x.nir")
    with pytest.raises(InterchangeError, match=r"none\.nir: no such NIR file"):
        files.read(tmp_path / "none.nir")


def test_without_the_package_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(InterchangeError, match=r"pip install 'spikefront\[nir\]'"):
        files.read(tmp_path / "x.nir")
