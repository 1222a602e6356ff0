"""Operations, bytes and memory against hand calculations and an independent counter."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from snn.evaluation.evaluate import evaluate
from snn.evaluation.operation_counter import operations_of
from snn.evaluation.recording import record
from snn.network.blocks import connections_of, fold_for_inference
from snn.network.connections import Connections, SubSample
from snn.network.cost import OperationCounter, SavedBytes, fan_out, model_bytes, skip_fan_out
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task
from snn.network.neurons import Lif
from snn.network.trained import History, Images, Trained
from snn.rules import TIME_RULES
from snn.settings.config import RunConfig
from snn.settings.first_spikes import FIRST_SPIKES
from snn.settings.measurement import energy_nj
from snn.training.plan import plan
from snn.training.train import Training
from tests.snn.network.test_network import DIGITS, fresh
from tests.snn.training.test_train import split_of


def test_fan_out_of_a_padded_convolution_is_smaller_at_the_border() -> None:
    """3x3, padding 1, one output channel: corners reach 4 targets, edges 6, the middle 9."""
    conn = Connections((1, 1, 3, 3))
    with torch.no_grad():
        conn.weight.fill_(1.0)
    assert fan_out(conn, (1, 3, 3))[0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_fan_out_of_a_strided_convolution_leaves_out_what_no_window_covers() -> None:
    """1x1 with stride 2 on 4x4 reads every other pixel of every other row."""
    conn = Connections((5, 1, 1, 1), stride=2)
    assert fan_out(conn, (1, 4, 4))[0].tolist() == [
        [5, 0, 5, 0],
        [0, 0, 0, 0],
        [5, 0, 5, 0],
        [0, 0, 0, 0],
    ]


def test_fan_out_counts_only_connections_that_exist() -> None:
    conn = Connections((3, 2))
    with torch.no_grad():
        conn.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, -1.0]]))
    assert fan_out(conn, (2,)).tolist() == [2, 1]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [5, 6, 7, 8])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("groups", [1, 3])
def test_operations_are_what_a_convolution_of_ones_adds_up(
    stride: int, side: int, kernel: int, groups: int, draws: torch.Generator
) -> None:
    conn = Connections((6, 3 // groups, kernel, kernel), stride=stride, groups=groups)
    with torch.no_grad():
        conn.weight.mul_(torch.rand(conn.weight.shape, generator=draws) < 0.4)
    spikes = (torch.rand(5, 3, side, side, generator=draws) < 0.3).double()
    ones, options = (conn.weight != 0).double(), {"stride": stride, "groups": groups}
    exact = F.conv2d(spikes, ones, padding=kernel // 2, **options)
    counted = (spikes * fan_out(conn, (3, side, side))).sum()
    assert counted.item() == exact.sum().item()


def test_a_skip_without_weights_costs_one_accumulate_per_spike_that_it_passes() -> None:
    layer = Layer(
        "l", [Connections((2, 2, 3, 3))], lif=Lif(), skip=SubSample(stride=2, spikes_per_unit=1)
    )
    assert skip_fan_out(layer, (2, 4, 4)).sum() == 2 * 2 * 2


def test_pooled_spikes_count_each_by_itself() -> None:
    """Four spikes in a 2x2 window make one value of 1 and four accumulates per connection."""
    conn = Connections((7, 4), spikes_per_unit=4)
    layer, counter = Layer("l", [conn], lif=Lif()), OperationCounter()
    layer([torch.tensor([[[1.0, 0.5, 0.0, 0.25]]])], 1, ForwardContext(observer=counter))
    assert counter.accumulates[layer][0].item() == (4 + 2 + 1) * 7


@pytest.mark.parametrize("readout", ["integrator", "spiking"])
def test_votes_cost_their_connections_and_their_average_nothing(
    readout: str, draws: torch.Generator
) -> None:
    """Class neurons that spike are a layer: their spikes count, and latency has one more layer."""
    config = RunConfig(
        backbone="mlp", width=20, head_hidden=0, timesteps=3, readout=readout, votes=4
    )
    network = Network(config, DIGITS)
    network.blocks.append(fold_for_inference(config, 0, fresh(config, DIGITS).block(0)))
    images = Images(
        images=torch.randint(1, 255, (32, 1, 8, 8), generator=draws, dtype=torch.uint8),
        labels=torch.zeros(32, dtype=torch.int64),
        mean=torch.tensor([[[0.3]]]),
        std=torch.tensor([[[0.3]]]),
    )
    recording = record(network.eval(), images)
    hidden, classes = recording.layers
    assert (classes.name, classes.neurons, classes.weights) == ("exit1.readout", 40, 20 * 40)
    assert hidden.spikes_per_inference > 0
    assert classes.synaptic_ops == pytest.approx(hidden.spikes_per_inference * 40, rel=1e-12)
    assert recording.accumulates[0, -1].mean() == pytest.approx(classes.synaptic_ops, rel=1e-12)
    total = hidden.spikes_per_inference + classes.spikes_per_inference
    assert recording.spikes[0, -1].mean() == pytest.approx(total, rel=1e-12)
    history = History(memory_bytes=(1,), training_s=(1.0,), parameters=(1,))
    metrics = evaluate(Trained(network=network, history=history), images).sampled.metrics
    if readout == "spiking":
        assert classes.spikes_per_inference > 0
        assert metrics["latency_steps"] == 3 * 2
    else:
        assert classes.spikes_per_inference == 0
        assert metrics["latency_steps"] == 3


@pytest.mark.parametrize("moves", [False, True])
def test_macs_of_an_input_that_moves_are_counted_at_every_timestep(
    moves: bool, draws: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a constant one in the first timestep only. A moving value of zero costs nothing."""
    if moves:
        monkeypatch.setattr("snn.network.network.CONSTANT", ())
    config = RunConfig(backbone="mlp", width=20, head_hidden=0, timesteps=3)
    network = fresh(config, DIGITS).eval()
    monkeypatch.setattr(Network, "chunk_steps", 2)
    drive = torch.rand(3 if moves else 1, 5, 1, 8, 8, generator=draws)
    drive[-1, 0] = 0
    counter = OperationCounter()
    with torch.no_grad():
        network.run(drive, ForwardContext(observer=counter), timesteps=3)
    macs = operations_of(counter, network.block(0)).macs
    full = [[64 * 20.0] * 5] * 3 if moves else [[64 * 20.0] * 5, [0.0] * 5, [0.0] * 5]
    if moves:
        full[-1] = [0.0, *[64 * 20.0] * 4]
    assert macs.tolist() == full


def test_stored_bytes_take_the_smaller_form() -> None:
    """100x100 inputs: dense 4 B each; with 50 left 4 B each and a bit for every possible one."""
    config = RunConfig(backbone="mlp", width=100, head_hidden=0)
    network = fresh(config, Task(image_shape=(1, 10, 10), classes=10))
    block = fold_for_inference(config, 0, network.block(0))
    with torch.no_grad():
        for conn in connections_of(block):
            conn.weight.fill_(1.0)
    assert model_bytes([block]) == 4 * (100 * 100 + 100 * 10)
    with torch.no_grad():
        hidden = connections_of(block)[0]
        hidden.weight.zero_()
        hidden.weight[0, :50] = 1.0
    assert model_bytes([block]) == (4 * 50 + 100 * 100 // 8) + 4 * 100 * 10


def test_a_learned_leak_and_threshold_take_four_bytes_each() -> None:
    config = RunConfig(backbone="mlp2", width=20, head_hidden=0)
    sizes = []
    for neuron in ("fixed", "learned"):
        with_it = config.replace(neuron=neuron)
        sizes.append(model_bytes([fold_for_inference(with_it, 0, fresh(with_it, DIGITS).block(0))]))
    assert sizes[1] - sizes[0] == 2 * 2 * 4


def test_energy_is_horowitz_arithmetic() -> None:
    assert energy_nj(1000, 0) == pytest.approx(0.9)
    assert energy_nj(0, 1000) == pytest.approx(4.6)


def test_saved_bytes_are_the_potentials_and_the_inputs() -> None:
    """T = 3, batch 2: inputs (7 each) for the weight, potentials (5 each) for the neurons."""
    layer = Layer("l", [Connections((5, 7))], lif=Lif(), has_bias=False)
    x = torch.zeros(3, 2, 7)
    with SavedBytes(list(layer.parameters())) as saved:
        graph = layer([x], 3, ForwardContext())
    assert graph.requires_grad
    assert saved.peak == 4 * 3 * 2 * (7 + 5)


@pytest.mark.parametrize("keeps_border", [True, False])
@pytest.mark.parametrize("encoding", ["direct", "poisson"])
@pytest.mark.parametrize("rule", sorted(set(TIME_RULES) - {"encoder", *FIRST_SPIKES}))
def test_the_estimate_is_the_memory_that_training_counts(
    rule: str, encoding: str, keeps_border: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (rule, encoding) == ("conversion", "poisson"):
        pytest.skip("trains without time")
    if not keeps_border:
        monkeypatch.setattr("snn.training.examples.BORDER_BYTES", 0)
    config = RunConfig(
        width=4,
        epochs=1,
        train_images=64,
        validation_fraction=0.05,
        partition="1+2",
        dropout=0.1,
        timesteps=4,
        time_rule=rule,
        reset="hard" if rule == "spike-bp" else "soft",
        encoding=encoding,
    )
    counted = [m.training_memory_bytes for m in Training(config, split_of(config))]
    planned = plan(config, DIGITS).stage_memory_bytes
    assert planned == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "s8p b12/2 s9k5"},
        {"architecture": "s8p b8/2i s9", "time_rule": "ottt-a", "target_sparsity": 0.5},
        {"pooling": "max"},
        {"readout": "spiking", "votes": 3},
        {"neuron": "learned", "encoding": "poisson"},
        {"neuron": "individual", "leak": 0.8, "leak_spread": 3.0},
        {"readout": "spiking", "votes": 3, "time_rule": "ottt-o"},
        {"votes": 3, "time_rule": "saf-f"},
        {"synaptic_leak": 0.6},
        {"adaptation": 0.3},
        {"recurrence": "3x3", "dropout": 0.2},
        {"delays": "connections", "encoding": "poisson"},
        {"delays": "axons", "encoding": "poisson", "memory_mode": "packed"},
    ],
    ids=[
        "new-units",
        "new-units-forward",
        "maxima",
        "class-neurons",
        "learned-constants",
        "own-constants",
        "class-neurons-forward",
        "votes",
        "synapses",
        "adaptive",
        "recurrence",
        "delays",
        "delays-of-axons",
    ],
)
def test_the_estimate_covers_other_pools_and_readouts(changes: dict[str, Any]) -> None:
    settings = {"architecture": "c1wp c2wp c4w", "width": 4, **changes}
    config = RunConfig(epochs=1, train_images=64, partition="1+2", **settings)
    counted = [m.training_memory_bytes for m in Training(config, split_of(config))]
    assert plan(config, DIGITS).stage_memory_bytes == pytest.approx(counted, rel=0.01)


def test_a_batch_is_planned_no_larger_than_there_are_images() -> None:
    config = RunConfig(width=4, train_images=50, batch_size=500)
    assert plan(config, DIGITS).training_memory_bytes == (
        plan(config.replace(batch_size=50), DIGITS).training_memory_bytes
    )
    assert plan(config, DIGITS, images=20).training_memory_bytes == (
        plan(config.replace(batch_size=20), DIGITS).training_memory_bytes
    )


def test_a_plan_counts_dense_operations_by_hand() -> None:
    config = RunConfig(backbone="mlp", width=20, head_hidden=0, timesteps=3)
    assert plan(config, DIGITS).macs_per_image == 3 * (64 * 20 + 20 * 10)


class _PlainNet(nn.Module):
    """Our network as an ordinary torch model over (batch, time, ...), for NeuroBench.

    The image is fed anew at every timestep. The spiking layers stand as modules
    of their own so that their activations can be watched.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        block = network.block(0)
        self.steps = network.config.timesteps
        self.units = tuple(block.units)  # no modules of this one
        self.conns = nn.ModuleList()
        for conn in connections_of(block):
            if conn.weight.dim() == 4:
                kernel = conn.weight.shape[-1]
                plain: nn.Module = nn.Conv2d(
                    conn.weight.shape[1] * conn.groups,
                    conn.weight.shape[0],
                    kernel,
                    stride=conn.stride,
                    padding=kernel // 2,
                    groups=conn.groups,
                    bias=False,
                )
            else:
                plain = nn.Linear(conn.weight.shape[1], conn.weight.shape[0], bias=False)
            plain.weight.data.copy_(conn.weight)  # type: ignore[union-attr, operator]
            self.conns.append(plain)
        self.biases = [layer.bias.detach() for layer in _layers(block)]
        self.last = block.head.readout.bias.detach()
        self.lifs = nn.ModuleList(_StepLif() for _ in self.biases)

    def forward(self, x: Tensor) -> Tensor:
        for lif in self.lifs:
            lif.v = 0.0  # type: ignore[assignment]
        outputs = [self._step(x[:, t]) for t in range(x.shape[1])]
        return torch.stack(outputs, dim=1).mean(dim=1)

    def _step(self, x: Tensor) -> Tensor:
        *conns, hidden, readout = self.conns
        driving, number = iter(conns), 0
        for unit in self.units:
            signals = {"input": x}
            for layer, name, sources in unit.parts():
                current = self.biases[number].view(-1, 1, 1)
                for source in sources[: len(layer.sources)]:
                    current = current + next(driving)(signals[source])
                if layer.skip is not None:
                    stride = layer.skip.stride
                    current = current + signals[sources[-1]][..., ::stride, ::stride]
                x = signals[name] = self.lifs[number](current)
                number += 1
        s3 = self.lifs[number](hidden(x.flatten(1)) + self.biases[number])
        out: Tensor = readout(s3) + self.last
        return out


class _StepLif(nn.Module):
    v: Any = 0.0

    def forward(self, current: Tensor) -> Tensor:
        h = 0.5 * self.v + current
        s = (h >= 1).to(h)
        self.v = h - s
        return s


def _layers(block: nn.Module) -> list[Any]:
    return [part for part in block.modules() if isinstance(part, Layer)]


def _sparse_network(
    architecture: str, sparsity: float, draws: torch.Generator
) -> tuple[Network, Images]:
    """A folded network with random connections missing, and images without a zero pixel."""
    config = RunConfig(architecture=architecture, timesteps=4, head_hidden=12)
    block = fold_for_inference(config, 0, fresh(config, DIGITS).block(0))
    for conn in connections_of(block):
        with torch.no_grad():
            conn.weight.mul_(torch.rand(conn.weight.shape, generator=draws) >= sparsity)
    network = Network(config, DIGITS)
    network.blocks.append(block)
    images = torch.randint(1, 255, (32, 1, 8, 8), generator=draws, dtype=torch.uint8)
    return network.eval(), Images(
        images=images,
        labels=torch.zeros(32, dtype=torch.int64),
        mean=torch.tensor([[[0.3]]]),
        std=torch.tensor([[[0.3]]]),
    )


@pytest.mark.parametrize("architecture", ["c4 r8/2", "s6k5/2 b8/2", "c8 b8 s9/2"])
@pytest.mark.parametrize("sparsity", [0.0, 0.7])
def test_operations_agree_with_neurobench(
    architecture: str, sparsity: float, draws: torch.Generator
) -> None:
    """Effective accumulates and connection sparsity equal NeuroBench's, for every kind of unit.

    Without pooling, whose fractions NeuroBench takes for real numbers.
    NeuroBench counts the analog first layer at every timestep, we count it once.
    """
    pytest.importorskip("neurobench", reason="NeuroBench is not installed: make setup")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    network, images = _sparse_network(architecture, sparsity, draws)
    model = TorchModel(_PlainNet(network).eval())
    model.add_activation_module(_StepLif)
    (drive, labels), *_ = images.batches(network.config)
    repeated = drive.transpose(0, 1).expand(-1, 4, -1, -1, -1).contiguous()
    batches = DataLoader(TensorDataset(repeated, labels), batch_size=len(labels))
    metrics = [[ConnectionSparsity], [ActivationSparsity, SynapticOperations]]
    found = Benchmark(model, batches, [], [], metrics).run(quiet=True)

    recording = record(network, images)
    operations = found["SynapticOperations"]
    assert recording.accumulates[0, -1].mean() == pytest.approx(
        operations["Effective_ACs"], rel=1e-9
    )
    assert 4 * recording.macs[0, -1].mean() == pytest.approx(operations["Effective_MACs"], rel=1e-9)
    spikes = recording.spikes[0, -1].mean()
    neurons = sum(layer.neurons for layer in recording.layers if "readout" not in layer.name)
    assert 1 - spikes / (4 * neurons) == pytest.approx(found["ActivationSparsity"], abs=1e-4)
    history = History(memory_bytes=(1,), training_s=(1.0,), parameters=(1,))
    metrics_of = evaluate(Trained(network=network, history=history), images).sampled.metrics
    assert 1 - metrics_of["connectivity"] == pytest.approx(found["ConnectionSparsity"], abs=6e-5)
