"""A spiking encoder: its scores by enumeration, its baseline, its price, its decoders."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from snn.data.encoding import latency
from snn.evaluation.evaluate import evaluate, infer
from snn.evaluation.operating_points import OperatingPointEvaluator, OperatingSetting
from snn.evaluation.recording import record
from snn.interchange.description import InterchangeError
from snn.interchange.measure import measure
from snn.interchange.simulation import Simulation
from snn.interchange.wiring import graphs, inexpressible
from snn.lif import decaying_sum
from snn.network.blocks import build_block, layers_of
from snn.network.cost import OperationCounter
from snn.network.encoder.code import CodeLayer, relative_entropy
from snn.network.encoder.decoder import Decoder, Judge, distortion
from snn.network.encoder.eligibility import KEPT, Eligibility
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network, Task, input_signal
from snn.rules import TIME_RULES, Batch, count_operations
from snn.rules.encoder import Watch, errors, score_gradient
from snn.rules.spike_time import first_times
from snn.settings.config import ConfigError, RunConfig
from snn.training.checkpoint import load, save
from snn.training.plan import plan
from snn.training.train import Training
from tests.snn.evaluation.test_evaluate import images_of
from tests.snn.training.test_train import split_of, trained

NEURONS, STEPS = 2, 3
TINY = RunConfig(
    time_rule="encoder",
    architecture="d5",
    head_hidden=NEURONS,
    timesteps=STEPS,
    leak=0.8,
    code_rate=0.2,
    code_price=0.7,
    norm="none",
)
ALL = torch.tensor(list(itertools.product((0.0, 1.0), repeat=STEPS * NEURONS)), dtype=torch.float64)
CODES = ALL.view(-1, STEPS, NEURONS).transpose(0, 1)  # (time, codes, neurons)


def network_of(config: RunConfig, draws: torch.Generator) -> Network:
    """One block in double precision, with weights that matter; recurrent ones too."""
    task = Task(image_shape=(1, 2, 2), classes=3)
    network = Network(config, task)
    network.blocks.append(build_block(config, 0, input_signal(config, task), range(3)))
    network.double().train()
    for layer in layers_of(network):
        for conn in layer.arriving:
            torch.nn.init.normal_(conn.weight, 0.4, 0.7, generator=draws)
    torch.nn.init.normal_(network.block(0).head.readout.connections.weight, generator=draws)  # type: ignore[union-attr, arg-type]
    return network


def code_of(network: Network) -> CodeLayer:
    code = network.block(0).head.hidden
    assert isinstance(code, CodeLayer)
    return code


def batch_of(draws: torch.Generator, *, images: int = 1) -> Batch:
    drive = (
        torch.rand(STEPS, images, 1, 2, 2, dtype=torch.float64, generator=draws) < 0.7
    ).double()
    labels = torch.randint(0, 3, (images,), generator=draws)
    return Batch(drive=drive, labels=labels, frozen=0, timesteps=STEPS, loss="mean-readout")


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor | None], None]:
    """Makes the code neurons draw this code; None: at random again."""
    usual = CodeLayer._noise
    chosen: list[Tensor | None] = [None]

    def noise(layer: CodeLayer, p: Tensor, batch: ForwardContext) -> Tensor:
        if chosen[0] is None:
            return usual(layer, p, batch)
        place = sum(len(part) for part in batch.potentials[layer]) - len(p)
        return 1 - chosen[0][place : place + len(p)]

    monkeypatch.setattr(CodeLayer, "_noise", noise)
    return lambda code: chosen.__setitem__(0, code)


def run(network: Network, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The probability of the code that is drawn, its distortion, and its price."""
    block, context = network.block(0), ForwardContext()
    code = code_of(network)
    with torch.no_grad():
        spikes = code([block(batch.drive, STEPS, context)], STEPS, context)
        assert isinstance(block.head.readout, Decoder)
        lost = distortion(block.head.readout.final(spikes), batch.labels)
    u = torch.cat(context.potentials[code])
    p = code.probability(u)
    chance = torch.where(spikes > 0, p, 1 - p).prod(dim=0).prod(dim=1)
    return chance, lost, relative_entropy(u, code.rate).sum(dim=(0, 2))


def objective(network: Network, batch: Batch, draw: Callable[[Tensor | None], None]) -> float:
    """The enumerated objective of one image: all codes are a batch."""
    draw(CODES)
    chance, lost, price = run(network, repeated(batch))
    return float((chance * (lost + network.config.code_price * price)).sum())


def repeated(batch: Batch) -> Batch:
    """One image as often as there are codes."""
    count = CODES.shape[1]
    drive = batch.drive.expand(-1, count, -1, -1, -1)
    return dataclasses.replace(batch, drive=drive, labels=batch.labels.expand(count))


def gradients(network: Network, batch: Batch, *, baseline: float) -> Iterator[tuple[str, Tensor]]:
    """The gradients of the rule with one constant as the baseline of all weights."""
    network.zero_grad(set_to_none=True)
    for layer in layers_of(network):
        assert layer.eligibility is not None
        layer.eligibility.power.fill_(1.0)
        layer.eligibility.signal.fill_(baseline)
    TIME_RULES["encoder"](network, batch, ForwardContext(), apply=lambda: None)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        yield name, parameter.grad.clone()


@pytest.mark.parametrize("recurrence", ["none", "1x1"])
@pytest.mark.parametrize("decoder", ["time", "rate"])
@pytest.mark.parametrize("baseline", [0.0, 1.7])
def test_the_mean_gradient_is_that_of_the_enumerated_objective(
    recurrence: str,
    decoder: str,
    baseline: float,
    draws: torch.Generator,
    draw: Callable[[Tensor | None], None],
) -> None:
    """Of code neurons and decoder, with any constant baseline: 64 codes, differences to 1e-8."""
    config = TINY.replace(recurrence=recurrence, decoder=decoder, decoder_hidden=0)
    network, batch = network_of(config, draws), batch_of(draws)
    mean: dict[str, Tensor] = {}
    draw(CODES)
    chances, _, _ = run(network, repeated(batch))
    for chance, code in zip(chances, CODES.unbind(1), strict=True):
        draw(code.unsqueeze(1))
        for name, gradient in gradients(network, batch, baseline=baseline):
            mean[name] = mean.get(name, torch.zeros_like(gradient)) + float(chance) * gradient
    assert float(chances.sum()) == pytest.approx(1, abs=1e-14)
    checked = 0
    for name, parameter in network.named_parameters():
        if not name.startswith("blocks.0.head"):
            continue  # surrogates of hidden neurons are no derivatives
        flat = parameter.data.view(-1)
        for index in range(len(flat)):
            kept, ends = float(flat[index]), []
            for step in (1e-5, -1e-5):
                flat[index] = kept + step
                ends.append(objective(network, batch, draw))
            flat[index] = kept
            difference = (ends[0] - ends[1]) / 2e-5
            assert float(mean[name].view(-1)[index]) == pytest.approx(difference, abs=1e-8), name
            checked += 1
    assert checked >= 20


@pytest.mark.parametrize("recurrence", ["none", "1x1"])
def test_the_price_is_the_mean_of_the_log_ratio_to_the_reference(
    recurrence: str, draws: torch.Generator, draw: Callable[[Tensor | None], None]
) -> None:
    network, batch = network_of(TINY.replace(recurrence=recurrence), draws), batch_of(draws)
    draw(CODES)
    chance, _, entropy = run(network, repeated(batch))
    rates = torch.full_like(CODES, TINY.code_rate)
    reference = torch.where(CODES > 0, rates, 1 - rates).prod(dim=0).prod(dim=1)
    ratio = float((chance * torch.log(chance / reference)).sum())
    assert ratio == pytest.approx(float((chance * entropy).sum()), abs=1e-12)
    assert ratio > 0.01


def test_the_relative_entropy_has_its_closed_form_and_is_0_at_the_reference_alone() -> None:
    u = torch.linspace(-9, 9, 1001, dtype=torch.float64)
    for rate in (0.02, 0.3, 0.5):
        p = torch.sigmoid(u + math.log(rate / (1 - rate)))
        closed = p * torch.log(p / rate) + (1 - p) * torch.log((1 - p) / (1 - rate))
        assert torch.allclose(relative_entropy(u, rate), closed, atol=1e-13)
        assert float(relative_entropy(torch.zeros((), dtype=torch.float64), rate)) == pytest.approx(
            0, abs=1e-15
        )
        assert bool((relative_entropy(u[u.abs() > 0.01], rate) > 0).all())


@pytest.mark.parametrize("recurrence", ["none", "1x1"])
def test_the_eligibility_is_the_derivative_of_the_logarithm_of_the_probability(
    recurrence: str, draws: torch.Generator
) -> None:
    network, batch = network_of(TINY.replace(recurrence=recurrence), draws), batch_of(draws)
    code, block, watch = code_of(network), network.block(0), Watch()
    context = ForwardContext(generator=draws, observer=watch, fire=watch)
    with torch.no_grad():
        spikes = code([block(batch.drive, STEPS, context)], STEPS, context)
    p = code.probability(torch.cat(context.potentials[code]))
    e = torch.einsum("tbi,tbj->ij", spikes - p, watch.traces(code))
    hidden = watch.seen[code].inputs[0]
    weight = code.sources[0].weight
    u, logarithm = (
        torch.zeros(1, NEURONS, dtype=torch.float64),
        torch.zeros((), dtype=torch.float64),
    )
    for step in range(STEPS):
        assert code.bias is not None
        current = hidden[step] @ weight.T + code.bias
        if code.recurrence is not None and step > 0:
            current = current + spikes[step - 1] @ code.recurrence.weight.T
        u = 0.8 * u + current
        chance = code.probability(u)
        logarithm = logarithm + torch.where(spikes[step] > 0, chance, 1 - chance).log().sum()
    logarithm.backward()
    of = [part.weight.grad for part in code.arriving] + [code.bias.grad.unsqueeze(1)]  # type: ignore[union-attr]
    assert torch.allclose(e, torch.cat([g for g in of if g is not None], dim=1), atol=1e-13)


def test_the_baseline_has_the_least_variance_of_all_constants_and_knows_no_batch_of_its_own(
    draws: torch.Generator,
) -> None:
    """On samples: the averages are exact after one batch, and each weight has its own optimum."""
    images, inputs = 400, 3
    error = torch.randn(STEPS, images, NEURONS, dtype=torch.float64, generator=draws)
    traces = torch.rand(STEPS, images, inputs, dtype=torch.float64, generator=draws)
    signal = 3 + traces.sum(dim=(0, 2)) + torch.rand(images, dtype=torch.float64, generator=draws)
    e = torch.einsum("tbi,tbj->bij", error, traces)
    kept = Eligibility(NEURONS, inputs).double()
    first = score_gradient(error, traces, signal, kept)
    assert bool((first == 0).all())  # measured only
    best = kept.baseline()
    each = signal.view(-1, 1, 1)
    assert torch.allclose(best, (e**2 * each).mean(0) / (e**2).mean(0), atol=1e-12)

    def spread(constant: Tensor | float) -> Tensor:
        return ((each - constant) * e).square().mean(dim=0)

    for other in (best + 0.01, best - 0.01, signal.mean().expand_as(best), torch.zeros_like(best)):
        assert bool((spread(best) < spread(other)).all())
    second = score_gradient(error, traces, 2 * signal, kept)  # the baseline of the first batch
    assert torch.allclose(second, ((2 * each - best) * e).mean(dim=0), atol=1e-12)
    ratio = ((1 - KEPT) * 2 + KEPT * (1 - KEPT)) / ((1 - KEPT) * (1 + KEPT))
    assert torch.allclose(kept.baseline(), ratio * best, atol=1e-12)


def test_decoder_and_encoder_learn_apart(draws: torch.Generator) -> None:
    """The encoder only measures in its first batch; what it does later is none of the decoder."""
    config = TINY.replace(code_price=0.0)
    network, batch = network_of(config, draws), batch_of(draws, images=5)
    context = ForwardContext(generator=torch.Generator().manual_seed(3))
    TIME_RULES["encoder"](network, batch, context, apply=lambda: None)
    decoder = network.block(0).head.readout
    assert isinstance(decoder, Decoder)
    of_decoder = decoder.connections.weight.grad
    assert of_decoder is not None
    assert float(of_decoder.abs().max()) > 0
    for layer in layers_of(network):
        for conn in layer.arriving:
            assert conn.weight.grad is not None
            assert float(conn.weight.grad.abs().max()) == 0
    kept = of_decoder.clone()
    network.zero_grad()
    again = ForwardContext(generator=torch.Generator().manual_seed(3))
    TIME_RULES["encoder"](network, batch, again, apply=lambda: None)  # the encoder learns now
    assert torch.equal(decoder.connections.weight.grad, kept)  # type: ignore[arg-type]
    moved = [conn.weight.grad for layer in layers_of(network) for conn in layer.arriving]
    assert all(float(grad.abs().max()) > 0 for grad in moved if grad is not None)


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_errors_of_hidden_layers_come_through_weights_or_fixed_numbers(
    feedback: str, draws: torch.Generator
) -> None:
    config = TINY.replace(architecture="d5 d4", code_feedback=feedback)
    network, batch = network_of(config, draws), batch_of(draws, images=3)
    watch, block = Watch(), network.block(0)
    context = ForwardContext(generator=draws, observer=watch, fire=watch)
    with torch.no_grad():
        code_of(network)([block(batch.drive, STEPS, context)], STEPS, context)
        error = torch.randn(STEPS, 3, NEURONS, dtype=torch.float64, generator=draws)
        layers: list[Layer] = layers_of(network)
        first, second, last = errors(layers, watch, error)
    assert torch.equal(last, error)
    assert first.shape == (STEPS, 3, 5)
    assert second.shape == (STEPS, 3, 4)
    slope = math.pi / 2 * 2

    def passed(back: Tensor, layer: Layer) -> Tensor:
        v, h = torch.zeros(3, back.shape[2], dtype=torch.float64), []
        for x, fired in zip(watch.currents[layer], watch.seen[layer].spikes, strict=True):
            h.append(0.8 * v + x)
            v = h[-1] - fired
        return back / (1 + (slope * (torch.stack(h) - 1)).square())

    kept = [layer.eligibility.feedback for layer in layers if layer.eligibility is not None]
    if feedback == "symmetric":
        assert kept == [None, None, None]
        expected = passed(error @ layers[2].sources[0].weight, layers[1])
        below = passed(expected @ layers[1].sources[0].weight, layers[0])
    else:
        assert kept[0] is not None
        assert kept[1] is not None
        assert kept[2] is None
        expected, below = passed(error @ kept[1], layers[1]), passed(error @ kept[0], layers[0])
    assert torch.allclose(second, expected, atol=1e-13)
    assert torch.allclose(first, below, atol=1e-13)


@pytest.mark.parametrize("recurrence", ["none", "1x1"])
def test_draws_of_inference_are_those_of_the_image_in_any_batch_and_chunk(
    recurrence: str, draws: torch.Generator
) -> None:
    config = TINY.replace(timesteps=6, recurrence=recurrence)
    network = network_of(config, draws).eval()
    code = code_of(network)
    x = (torch.rand(6, 40, 5, dtype=torch.float64, generator=draws) < 0.5).double()
    whole = code([x], 6, ForwardContext())
    assert torch.equal(code([x], 6, ForwardContext()), whole)
    alone = torch.cat([code([x[:, i : i + 1]], 6, ForwardContext()) for i in range(40)], dim=1)
    assert torch.equal(alone, whole)
    context, parts = ForwardContext(), []
    for first, last in ((0, 1), (1, 4), (4, 6)):
        parts.append(code([x[first:last]], last - first, context))
    assert torch.equal(torch.cat(parts), whole)
    code.salt += 1
    assert not torch.equal(code([x], 6, ForwardContext()), whole)


def test_draws_of_inference_have_the_probabilities_of_the_neurons(draws: torch.Generator) -> None:
    """Standardised by their variance, all neurons and the products of two: within six sigma."""
    network = network_of(TINY, draws).eval()
    code, images = code_of(network), 20_000
    x = (torch.rand(STEPS, images, 5, dtype=torch.float64, generator=draws) < 0.5).double()
    context = ForwardContext()
    spikes = code([x], STEPS, context)
    p = code.probability(torch.cat(context.potentials[code]))
    z = (spikes - p) / (p * (1 - p)).sqrt()
    firsts = z[0].mean(dim=0)  # few inputs are known then, so that images share their draws
    assert float(firsts.abs().max()) < 1
    last = z[-1]
    assert float(last.mean(dim=0).abs().max()) < 6 / math.sqrt(2**10)
    assert float((last[:, 0] * last[:, 1]).mean().abs()) < 6 / math.sqrt(2**10)


@pytest.mark.parametrize("hidden", [0, 7])
@pytest.mark.parametrize("kind", ["time", "rate"])
def test_a_decoder_answers_the_same_in_chunks_and_in_the_mean_of_what_it_hands_on(
    kind: str, hidden: int, draws: torch.Generator
) -> None:
    config = TINY.replace(timesteps=5, decoder=kind, decoder_hidden=hidden)
    network = network_of(config, draws)
    decoder = network.block(0).head.readout
    assert isinstance(decoder, Decoder)
    torch.nn.init.normal_(decoder.bias, generator=draws)
    code = (torch.rand(5, 4, NEURONS, dtype=torch.float64, generator=draws) < 0.5).double()
    each = decoder.each(code)
    context = ForwardContext()
    handed = torch.cat([decoder(code[:2], context), decoder(code[2:], context)])
    for steps in range(1, 6):
        assert torch.allclose(handed[:steps].mean(dim=0), each[steps - 1], atol=1e-12)
    assert torch.allclose(decoder.final(code), each[-1], atol=1e-12)
    shuffled = code.flip(0)
    assert torch.allclose(decoder.final(shuffled), decoder.final(code), atol=1e-12) == (
        kind == "rate"
    )


def test_a_decoder_of_time_with_equal_weights_is_one_of_rates(draws: torch.Generator) -> None:
    timed = network_of(TINY, draws).block(0).head.readout
    rated = network_of(TINY.replace(decoder="rate"), draws).block(0).head.readout
    assert isinstance(timed, Decoder)
    assert isinstance(rated, Decoder)
    with torch.no_grad():
        timed.connections.weight.copy_(rated.connections.weight.repeat(1, STEPS) / STEPS)
        timed.bias.copy_(rated.bias)
    code = (torch.rand(STEPS, 9, NEURONS, dtype=torch.float64, generator=draws) < 0.5).double()
    assert torch.allclose(timed.final(code), rated.final(code), atol=1e-13)


def test_operations_of_a_decoder_are_counted_spike_by_spike_and_its_products_once(
    draws: torch.Generator,
) -> None:
    """A spike adds to the hidden units of its timestep that exist; 3 of 7 are removed in one."""
    decoder = network_of(TINY.replace(decoder_hidden=7), draws).block(0).head.readout
    assert isinstance(decoder, Decoder)
    with torch.no_grad():
        decoder.connections.weight.view(7, STEPS, NEURONS)[:3, 1, 0] = 0
    code = (torch.rand(STEPS, 8, NEURONS, dtype=torch.float64, generator=draws) < 0.5).double()
    counter = OperationCounter()
    context = ForwardContext(observer=counter)
    decoder(code[:2], context)
    decoder(code[2:], context)
    fans = torch.full((STEPS, NEURONS), 7.0, dtype=torch.float64)
    fans[1, 0] = 4
    counted = torch.cat(counter.accumulates[decoder.connections])
    assert torch.equal(counted, torch.einsum("tbn,tn->tb", code, fans))
    products = torch.cat(counter.macs[decoder.last])
    assert torch.equal(products.sum(dim=0), torch.full((8,), 7.0 * 3, dtype=torch.float64))


def test_a_judge_is_the_least_squares_with_its_ridge(draws: torch.Generator) -> None:
    judge = Judge(4, 3).double()
    images = torch.rand(50, 4, dtype=torch.float64, generator=draws)
    labels = torch.randint(0, 3, (50,), generator=draws)
    judge.fit(images, labels)
    x = torch.cat([images, torch.ones(50, 1, dtype=torch.float64)], dim=1)
    left = x.T @ (judge(images) - torch.nn.functional.one_hot(labels, 3)) + 10 * judge.weight.T
    assert float(left.abs().max()) < 1e-11


@pytest.mark.parametrize("steps", [2, 16, 30])
def test_a_time_code_of_an_image_is_read_back_within_half_a_timestep(
    steps: int, draws: torch.Generator
) -> None:
    images = torch.randint(1, 256, (3, 1, 4, 4), dtype=torch.uint8, generator=draws)
    spikes = latency(images, torch.zeros(1), torch.ones(1), timesteps=steps)
    read = 1 - first_times(spikes) / (steps - 1)
    assert float((read - images / 255).abs().max()) <= 1 / (2 * (steps - 1)) + 1e-6


SMALL = RunConfig(
    time_rule="encoder",
    architecture="d40",
    head_hidden=12,
    timesteps=8,
    leak=0.9,
    epochs=3,
    train_images=300,
    learning_rate=5e-3,
)


@pytest.mark.parametrize("target", ["class", "image"])
def test_bits_and_what_they_leave_open_have_a_price(target: str) -> None:
    """Bits that cost nothing say most; where they are dear, neurons approach their rate."""
    config = SMALL.replace(decoder_target=target, epochs=8)
    points = []
    for price in (0.0, 1000.0):
        training = Training(config.replace(code_price=price), split_of(config))
        losses = [measured.loss for measured in training]
        assert losses[-1] < losses[0]
        points.append(evaluate(training.trained, images_of(training)).sampled.metrics)
    free, dear = points
    assert free["code_bits"] / 4 > dear["code_bits"] > 0
    assert free["distortion"] < dear["distortion"]
    if target == "class":
        assert dear["distortion"] > 0.95 * math.log2(10)
    assert free["accuracy"] > dear["accuracy"] + 0.1


def test_metrics_of_codes_are_counted_until_the_answer_and_equal_running_it() -> None:
    config = SMALL.replace(
        architecture="d40 d20", partition="1+1", epochs=1, decoder_hidden=9, exit_threshold=0.2
    )
    training = Training(config, split_of(config))
    list(training)
    trained, images = training.trained, images_of(training)
    recording = record(trained.network, images)
    evaluator = OperatingPointEvaluator(trained, recording)
    assert bool((np.diff(recording.bits, axis=1) >= 0).all())
    for steps, threshold in ((8, 0.2), (5, 0.2), (8, 1.0)):
        setting = OperatingSetting(
            timesteps=steps, exit_thresholds=(threshold,), detector_threshold=0.5
        )
        found, ran = evaluator.decisions(setting), infer(trained.network, images, setting)
        assert np.array_equal(found.labels, ran.labels)
        assert np.array_equal(found.exits, ran.exits)
        assert np.allclose(found.accumulates, ran.accumulates)
        first = evaluator.exiting(setting)[0]
        bits = recording.bits[0, steps - 1] + np.where(first, 0, recording.bits[1, steps - 1])
        metrics = evaluator.point(setting).metrics
        assert metrics["code_bits"] == pytest.approx(bits.mean())
        left = np.where(first, *recording.distortion[:, steps - 1])
        assert metrics["distortion"] == pytest.approx(left.mean())
    classes = -np.log2(recording.confidence[-1, -1][recording.label[-1, -1] == recording.labels])
    right = recording.label[-1, -1] == recording.labels
    # the last exit alone decides (nested): its confidence in a right answer is what it leaves open
    assert np.allclose(classes, recording.distortion[-1, -1][right], atol=1e-4)


def test_other_networks_have_no_code() -> None:
    training = trained(RunConfig(epochs=1, train_images=60, width=4))
    metrics = evaluate(training.trained, images_of(training)).sampled.metrics
    assert math.isnan(metrics["code_bits"])
    assert math.isnan(metrics["distortion"])


def test_training_memory_is_planned_and_a_file_gives_the_network_back(tmp_path: Path) -> None:
    config = SMALL.replace(decoder_target="image", decoder_hidden=7, epochs=1)
    training = trained(config)
    planned = plan(config, training.network.task).stage_memory_bytes
    assert planned == pytest.approx(training.memory_bytes, rel=0.01)
    save(training.trained, tmp_path / "weights")
    ours = evaluate(training.trained, images_of(training)).points
    assert evaluate(load(tmp_path / "weights"), images_of(training)).points == ours


def test_the_graph_of_an_encoder_gives_the_potentials_of_its_code_neurons() -> None:
    pytest.importorskip("nir")
    training = trained(SMALL.replace(epochs=1))
    network, images = training.network, images_of(training)
    (made,) = graphs(network, mean=None, std=None)
    drive, _ = next(images.batches(network.config))
    context = ForwardContext()
    network.eval().run(drive, context, timesteps=8)
    outputs, are_spikes, _ = Simulation(made.graph, dt_s=made.about.dt_s).run(drive, timesteps=8)
    assert not are_spikes
    (code,) = (part for part in network.modules() if isinstance(part, CodeLayer))
    assert torch.allclose(outputs, torch.cat(context.potentials[code]), atol=1e-4)
    with pytest.raises(InterchangeError, match=r"is an encoder: .* evaluate the exported folder"):
        measure(made.graph, images, made.about)
    (line,) = inexpressible(SMALL.replace(recurrence="1x1"))
    assert "use recurrence 'none'" in line


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"architecture": "c4p"}, "architecture 'c4p' is not possible .* use dense units"),
    ({"head_hidden": 0}, "head_hidden must be at least 1 .* got 0"),
    ({"readout": "spiking"}, "readout 'spiking' .* use 'integrator'"),
    ({"dropout": 0.2}, r"dropout must be 0 .* random already, got 0\.2"),
    ({"votes": 3}, "votes must be 1 .* got 3"),
    ({"reset": "hard"}, "reset 'hard' .* use 'soft'"),
    ({"time_threshold": 0.5}, r"time_threshold must be 1 .* got 0\.5"),
    ({"norm": "batch-over-time"}, "norm .* use 'weight-standardised'"),
    ({"loss": "each-step"}, "loss must be 'mean-readout'"),
    ({"precision": "bfloat16"}, "precision .* scores .* use 'float32'"),
    ({"block_classes": "hard", "architecture": "d5 d4", "partition": "1+1"}, "block_classes"),
    (
        {"architecture": "d5 d4", "partition": "1+1", "space_rule": "end-to-end"},
        "space_rule .* use 'block-local'",
    ),
    ({"decoder_target": "image", "dataset": "n-mnist"}, "decoder_target 'image' needs images"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=lambda part: str(part))
def test_settings_that_an_encoder_cannot_have_are_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**{"time_rule": "encoder", "architecture": "d5", **values})


def test_operations_of_learning_are_those_of_errors_at_every_timestep(
    draws: torch.Generator,
) -> None:
    """A score and a price at each code neuron, both sent on to each hidden neuron."""
    network, batch = network_of(TINY, draws), batch_of(draws, images=5)
    found = count_operations(network, batch, draws, images=5)
    assert found.error == 2 * 5 * STEPS * NEURONS * 5
    parts = [conn.weight.numel() for conn in network.live_connections(0)]
    assert found.updates == sum(parts)
    traced = decaying_sum(batch.drive.flatten(2), None, 0.8) > 0
    assert found.gradient > 2 * float(traced.sum()) * 5  # of the hidden layer alone
