"""NIR: our networks in other people's simulators spike for spike, and theirs with us."""

import copy
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.nir_agreement import NETWORKS, Agreement, agreements, trained
from benchmarks.simulators import SIMULATORS
from snn.evaluation.evaluate import evaluate, infer, sampled_setting
from snn.evaluation.recording import record
from snn.interchange import InterchangeError, files
from snn.interchange.bundle import write_all
from snn.interchange.measure import description_of, measure
from snn.interchange.simulation import Simulation
from snn.interchange.wiring import Form, graphs, inexpressible
from snn.network.blocks import build_block, fold_for_inference
from snn.network.network import Network, Task, input_signal
from snn.network.trained import History, Images, Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikefront[nir]'")

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "simulators.md"
EVERYWHERE = ("mlp2 poisson", "vgg5 hard reset, leak 0.9", "vgg5 early firing")
WITH_SKIPS = ("resnet7 exits", "resnet5 sparse", "vgg5 spiking pools")
HISTORY = History(memory_bytes=(1,), training_s=(0.0,), parameters=(1,))


@functools.cache
def network_of(name: str) -> tuple[Network, Images]:
    return trained({**NETWORKS[name], "train_images": 100, "validation_fraction": 0.1})


def of_digits(config: RunConfig) -> Network:
    """Baked, but not trained."""
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


# ---- out


def agreed(name: str, simulator: str, form: Form) -> list[Agreement]:
    theirs = SIMULATORS[simulator]
    if theirs.missing:
        pytest.skip(f"{', '.join(theirs.missing)} not installed: make setup")
    network, images = network_of(name)
    return agreements(network, images, theirs, form=form)


@pytest.mark.parametrize(
    ("simulator", "form", "name"),
    [
        *(("snntorch", "plain", name) for name in (*EVERYWHERE, *WITH_SKIPS)),
        *(("spikingjelly", "plain", name) for name in (*EVERYWHERE, *WITH_SKIPS)),
        *(("norse", "norse", name) for name in EVERYWHERE),
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


def test_weights_go_out_as_they_are_and_sparse() -> None:
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
        ({"feedback": "last-to-first"}, "feedback 'last-to-first' has no NIR node .* use feedback"),
        (
            {"partition": "1+1", "block_classes": "hard"},
            "detector 'head' decides by a second readout.* use detector 'mass' or 'predicted'",
        ),
    ],
)
def test_what_nir_cannot_say_is_refused_by_name(changes: Mapping[str, Any], fault: str) -> None:
    config = RunConfig(backbone="resnet5", width=2, **changes)
    with pytest.raises(InterchangeError, match=fault):
        graphs(of_digits(config), mean=None, std=None)


def test_everything_that_cannot_be_said_is_refused_at_once() -> None:
    config = RunConfig(backbone="resnet5", pooling="max", feedback="last-to-first")
    assert len(inexpressible(config)) == 2


def test_exits_go_out_one_by_one_and_say_where_they_read(tmp_path: Path) -> None:
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
    """Graph by graph, by what network.json says; an image leaves where an exit is sure."""
    trained_one, images = network_of("resnet7 exits")
    network = copy.copy(trained_one)  # with thresholds in the middle of what its exits say
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
    """What docs/how-to/simulators.md tells people to type, simulator by simulator in its order."""
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


# ---- in


@pytest.mark.parametrize(
    "name", ["resnet5 sparse", "vgg5 spiking readout", "vgg5 spiking pools", "mlp2 poisson"]
)
def test_a_graph_of_ours_is_measured_as_the_network_is(name: str, tmp_path: Path) -> None:
    """Figure for figure: borders, strides, pools, skips, and resets that are no synapses."""
    network, images = network_of(name)
    graph = graph_of(network, tmp_path / "network.nir")
    about = description_of(graph)
    assert about is not None
    measured = measure(graph, images, about)
    points = evaluate(Trained(network=network, history=HISTORY), images)
    ours = points.sampled.metrics
    own = ("parameters", "training_s", "training_memory_bytes")  # of training
    for metric in METRICS.keys() - set(own):
        assert measured.metrics[metric] == ours[metric], metric
    assert measured.images == points.images
    assert sum(layer.synaptic_ops for layer in measured.layers) == pytest.approx(
        ours["synaptic_ops"]
    )


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


def test_neurons_follow_nir_s_equations() -> None:
    """By hand, in steps of 1 ms: a LIF with tau 4 ms, R 2, v_leak 1, threshold 2, reset 0.5."""
    one = np.ones(1)
    lif = nir.LIF(tau=4e-3 * one, r=2 * one, v_leak=one, v_threshold=2 * one, v_reset=0.5 * one)
    nodes = {"in": nir.Input({"input": np.array([1])}), "lif": lif}
    nodes["out"] = nir.Output({"output": np.array([1])})
    graph = nir.NIRGraph(nodes, [("in", "lif"), ("lif", "out")])
    simulation = Simulation(graph, dt_s=1e-3)
    v, expected = 0.0, []
    for _ in range(12):
        v += (1 - v + 2 * 1.5) / 4
        expected.append(float(v > 2))
        v = 0.5 if v > 2 else v
    outputs, _, _ = simulation.run(torch.full((1, 1, 1), 1.5), timesteps=12)
    assert 0 < sum(expected) < 12
    assert outputs.flatten().tolist() == expected


def test_a_loop_arrives_a_timestep_later_and_its_operations_count() -> None:
    """Two neurons that drive each other; connections with itself alone would be a reset."""
    two = np.ones(2)
    lif = nir.LIF(tau=1e-4 * two, r=two, v_leak=0 * two, v_threshold=0.5 * two, v_reset=0 * two)
    swap = nir.Linear(weight=np.array([[0.0, 1.0], [1.0, 0.0]]))
    nodes = {"in": nir.Input({"input": np.array([2])}), "lif": lif, "swap": swap}
    nodes["out"] = nir.Output({"output": np.array([2])})
    edges = [("in", "lif"), ("lif", "swap"), ("swap", "lif"), ("lif", "out")]
    simulation = Simulation(nir.NIRGraph(nodes, edges), dt_s=1e-4)
    drive = torch.zeros(4, 1, 2)
    drive[0, 0, 0] = 1
    outputs, _, spent = simulation.run(drive, timesteps=4)
    assert outputs[:, 0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert spent.accumulates["swap"].tolist() == [4]
    assert simulation.resets == frozenset()


def test_a_graph_inside_a_graph_runs_as_if_it_were_written_out() -> None:
    inner = nir.NIRGraph.from_list(nir.Linear(weight=np.eye(3, dtype=np.float32) * 2))
    outer = {"in": nir.Input({"input": np.array([3])}), "inner": inner}
    outer["out"] = nir.Output({"output": np.array([3])})
    edges = [("in", "inner"), ("inner", "out")]
    graph = nir.NIRGraph(outer, edges, type_check=False)
    outputs, _, _ = Simulation(graph, dt_s=1e-4).run(torch.full((1, 1, 3), 0.5), timesteps=2)
    assert outputs.tolist() == [[[1.0, 1.0, 1.0]]] * 2


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
