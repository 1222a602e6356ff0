"""Plasticity: the laws of the rule, who learns, the rank code, and removed connections."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from snn.data.rank_code import contrasts, difference_of_gaussians, rank
from snn.evaluation.evaluate import evaluate
from snn.interchange.wiring import inexpressible
from snn.network.connections import Connections
from snn.network.first_spike import FirstSpike
from snn.network.pooling import SpikePool
from snn.rewiring.stdp import LEAST, Plastic
from snn.rules.spike_time import first_times
from snn.rules.stdp import DEPRESSION, Winners, plasticity_of, rate_after, strengthen, winners
from snn.settings.config import ConfigError, RunConfig
from snn.training.checkpoint import load, save
from snn.training.plan import plan
from snn.training.stage import Stage
from snn.training.train import Training
from tests.snn.network.test_network import DIGITS
from tests.snn.training.test_conversion import _images
from tests.snn.training.test_train import split_of, trained

SMALL = RunConfig(
    time_rule="stdp",
    architecture="c8k3p c12k3",
    partition="1+1",
    threshold=(4.0, 3.0),
    head_hidden=0,
    norm="none",
    pooling="spiking",
    timesteps=8,
    batch_size=4,
    epochs=1,
    train_images=80,
)


def pixels(draws: torch.Generator, *, images: int = 6) -> Tensor:
    return torch.randint(0, 256, (images, 1, 16, 16), dtype=torch.uint8, generator=draws)


def ranked(images: Tensor, steps: int) -> Tensor:
    return rank(images, torch.zeros(1), torch.ones(1), timesteps=steps)


def test_the_filter_has_sum_0_and_maximum_1_and_sees_no_contrast_in_grey() -> None:
    on = difference_of_gaussians()
    assert float(on.sum()) == pytest.approx(0, abs=1e-12)
    assert float(on.max()) == 1
    assert torch.equal(on, on.T)
    grey = torch.full((1, 1, 16, 16), 200, dtype=torch.uint8)
    assert int(ranked(grey, 5).sum()) == 0


@pytest.mark.parametrize("steps", [3, 15, 400])
def test_equal_numbers_of_contrasts_spike_at_each_timestep_the_strongest_first(
    steps: int, draws: torch.Generator
) -> None:
    images = pixels(draws)
    spikes, strength = ranked(images, steps), contrasts(images / 255)
    assert float(spikes.sum(dim=0).max()) == 1
    assert torch.equal(spikes.sum(dim=0) > 0, strength > 0)
    counts = spikes.sum(dim=(2, 3, 4))
    assert float((counts.amax(dim=0) - counts.amin(dim=0)).max()) <= 1
    times = first_times(spikes)
    for image in range(len(images)):
        at, of = times[image].flatten(), strength[image].flatten()
        fired = at.isfinite()
        order = of[fired].argsort(descending=True)
        assert bool((at[fired][order].diff() >= 0).all())


def test_a_pool_of_single_spikes_passes_the_earliest_and_potentials_are_sums(
    draws: torch.Generator,
) -> None:
    """Convolving what has arrived so far is summing the convolved arrivals."""
    spikes = ranked(pixels(draws), 6).double()
    pool = SpikePool((16, 16), kernel=2)
    pooled, _ = FirstSpike(leak=1.0, threshold=0.5 / 4)(pool(spikes), None)
    expected = -torch.nn.functional.max_pool2d(-first_times(spikes).clamp(max=99), 2)
    windows = first_times(spikes).unfold(2, 2, 2).unfold(3, 2, 2).amin(dim=(4, 5))
    assert torch.equal(first_times(pooled), windows)
    assert expected.shape == windows.shape
    weight = torch.rand(5, 2, 3, 3, dtype=torch.float64, generator=draws)
    sums = torch.stack([torch.conv2d(x, weight, padding=1) for x in spikes]).cumsum(dim=0)
    at_once = torch.stack([torch.conv2d(x, weight, padding=1) for x in spikes.cumsum(dim=0)])
    assert torch.allclose(sums, at_once, atol=1e-12)
    assert bool((sums.diff(dim=0) >= -1e-12).all())


def test_one_map_fires_at_a_position_the_first_and_of_these_the_highest(
    draws: torch.Generator,
) -> None:
    current = torch.rand(7, 3, 6, 5, 5, dtype=torch.float64, generator=draws)
    spikes, state = FirstSpike(leak=1.0, threshold=1.6, is_exclusive=True)(current, None)
    free, _ = FirstSpike(leak=1.0, threshold=1.6)(current, None)
    assert float(spikes.sum(dim=(0, 2)).max()) == 1
    assert bool((spikes <= free).all())
    potentials, times = current.cumsum(dim=0), first_times(free)
    first = times.amin(dim=1)
    assert bool(first.isfinite().all())
    at = first.to(torch.int64).unsqueeze(0).unsqueeze(2).expand(1, 3, 6, 5, 5)
    height = potentials.gather(0, at)[0].masked_fill(times > first.unsqueeze(1), -1)
    assert torch.equal(spikes.sum(dim=0).argmax(dim=1), height.argmax(dim=1))
    # in two chunks, with the state between them
    rule = FirstSpike(leak=1.0, threshold=1.6, is_exclusive=True)
    early, between = rule(current[:3], None)
    late, after = rule(current[3:], between)
    assert torch.equal(torch.cat([early, late]), spikes)
    assert torch.equal(after, state)


def test_winners_are_the_earliest_in_maps_and_places_of_their_own(draws: torch.Generator) -> None:
    times = torch.randint(0, 5, (4, 6, 9, 9), generator=draws).double()
    times[torch.rand(times.shape, generator=draws) < 0.5] = math.inf
    potentials = torch.rand(times.shape, dtype=torch.float64, generator=draws)
    times[3] = math.inf
    won = winners(times, potentials, count=4, radius=2)
    assert int((won.image == 3).sum()) == 0
    for image in range(3):
        own = won.image == image
        maps, places = won.map[own], won.place[own]
        assert len(maps) == 4 == len(maps.unique())
        rows, columns = places // 9, places % 9
        for i in range(4):
            for j in range(i):
                far = max(abs(int(rows[i] - rows[j])), abs(int(columns[i] - columns[j])))
                assert far > 2
        assert bool((won.time[own].diff() >= 0).all())
        first = times[image] == times[image].min()
        assert float(won.time[own][0]) == float(times[image].min())
        best = potentials[image][first].max()
        assert float(potentials[image].flatten(1)[maps[0], places[0]]) == float(best)


def single(weight: float = 0.8) -> Connections:
    conn = Connections((1, 1, 3, 3)).double()
    conn.learn_by_plasticity()
    conn.plasticity = conn.plasticity.double()  # type: ignore[union-attr]
    with torch.no_grad():
        conn.weight.fill_(weight)
    return conn


def event(causal: Tensor, *, image: int = 0) -> tuple[Tensor, Winners]:
    """Inputs of one 3 x 3 image, those of `causal` before the winner in its middle."""
    inputs = torch.where(causal, 1.0, math.inf).double().view(1, 1, 3, 3)
    one = torch.tensor([image])
    return inputs, Winners(one, torch.tensor([0]), torch.tensor([4]), torch.tensor([1.0]).double())


def test_the_logit_of_a_weight_counts_its_events(draws: torch.Generator) -> None:
    """Weights stay in (0, 1); one event moves a weight by a w (1 - w), to first order."""
    conn, rate, shares = single(), 0.01, torch.linspace(0.1, 0.9, 9)
    early = torch.zeros(9, dtype=torch.float64)
    for _ in range(400):
        causal = torch.rand(9, generator=draws) < shares
        before = conn.weight.detach().flatten().clone()
        strengthen(conn, *event(causal), rate=rate)
        move = conn.weight.detach().flatten() - before
        exact = torch.where(causal, rate, -DEPRESSION * rate) * before * (1 - before)
        assert torch.allclose(move, exact, rtol=0.01, atol=1e-12)
        early += causal
    expected = math.log(4) + rate * (early - DEPRESSION * (400 - early))
    assert torch.allclose(torch.logit(conn.weight.flatten()), expected, atol=1e-9)
    assert float(plasticity_of(conn).updates) == 400
    assert float(plasticity_of(conn).operations) == 400 * 9


def test_an_input_is_kept_if_it_is_early_in_more_than_three_of_seven_events(
    draws: torch.Generator,
) -> None:
    conn, rate = single(0.5), 0.05
    shares = torch.tensor([0.30, 0.36, 0.40, 0.46, 0.50, 0.55, 0.60, 0.70, 1.0])
    for _ in range(4000):
        strengthen(conn, *event(torch.rand(9, generator=draws) < shares), rate=rate)
    boundary = DEPRESSION / (1 + DEPRESSION)
    assert boundary == pytest.approx(3 / 7)
    assert torch.equal(conn.weight.flatten() > 0.5, shares > boundary)


def test_an_input_that_never_fires_is_weakened_and_0_and_1_stay() -> None:
    conn = single()
    with torch.no_grad():
        conn.weight.view(-1)[0], conn.weight.view(-1)[1] = 0.0, 1.0
    strengthen(conn, *event(torch.tensor([True, False, *[True] * 6, False])), rate=0.1)
    weight = conn.weight.flatten()
    assert (float(weight[0]), float(weight[1])) == (0.0, 1.0)
    assert float(weight[8]) < 0.8 < float(weight[5])
    assert float(plasticity_of(conn).operations) == 8  # a missing weight is not written


def test_the_rate_doubles_up_to_its_bound() -> None:
    rates = [rate_after(images, start=0.004) for images in (0, 499, 500, 1000, 10**6)]
    assert rates == [0.004, 0.004, 0.008, 0.016, 0.15]


@pytest.mark.parametrize("form", ["stdp-count", "stdp-quantile", "stdp-final"])
def test_connections_are_removed_as_asked(form: str, draws: torch.Generator) -> None:
    config = SMALL.replace(rewiring=form, target_sparsity=0.6, rewiring_ramp=1.0, rewiring_every=1)
    conn = Connections((10, 2, 5, 5))
    conn.learn_by_plasticity(draws)
    with torch.no_grad():
        conn.weight.uniform_(0.001, 0.999, generator=draws)
        plasticity_of(conn).updates[:7] = 100
    weight, rewirer = conn.weight.clone(), Plastic([conn], config.of_block(0))
    missing = []
    for step in range(1, 11):
        rewirer.after_step(step, steps=10, learning_rate=0.0)
        missing.append(float((conn.weight == 0).float().mean()))
        alive = conn.weight > 0
        assert torch.equal(conn.weight[alive], weight[alive])
        assert int(alive.flatten(1).sum(dim=1).min()) >= 5  # threshold 4, and one more
    if form == "stdp-count":
        removed = conn.weight == 0
        expected = (weight < LEAST) & (torch.arange(10) < 7).view(-1, 1, 1, 1)
        assert torch.equal(removed, expected)
        return
    assert missing[-1] == pytest.approx(0.6, abs=1 / 500)
    assert float(weight[conn.weight == 0].max()) <= float(weight[conn.weight > 0].min())
    assert (missing[0] > 0) == (form == "stdp-quantile")
    assert missing == sorted(missing)


def test_removed_connections_save_operations_and_never_return() -> None:
    spent = {}
    for sparsity in (0.0, 0.7):
        config = SMALL.replace(
            architecture="c8k3p",
            partition="1",
            threshold=4.0,
            target_sparsity=sparsity,
            rewiring="stdp-quantile" if sparsity else "closed-loop",
            rewiring_ramp=0.5,
            train_images=400,
        )
        training = Training(config, split_of(config))
        for measured in training:
            stage = training._stage
            assert isinstance(stage, Stage)
            (conn,) = (c for c in stage.connections if c.plasticity is not None)
            spent[sparsity] = float(plasticity_of(conn).operations)
            assert float((conn.weight == 0).float().mean()) == pytest.approx(sparsity, abs=0.02)
            assert measured.regrown == 0
    assert spent[0.7] < 0.8 * spent[0.0]


def test_it_learns_without_labels_and_is_stored(tmp_path: Path) -> None:
    """The layers are equal whatever the labels are; the readout is not."""
    config = SMALL.replace(train_images=400)
    split = split_of(config)
    training = trained(config)
    evaluation = evaluate(training.trained, _images(config))
    assert evaluation.sampled.metrics["accuracy"] > 0.5
    save(training.trained, tmp_path / "w")
    again = evaluate(load(tmp_path / "w"), _images(config))
    assert again.sampled.metrics == evaluation.sampled.metrics
    split.train_labels.copy_((split.train_labels + 3) % 10)
    other = Training(config, split)
    for _ in other:
        pass
    for name, tensor in training.network.state_dict().items():
        same = torch.equal(tensor, other.network.state_dict()[name])
        assert same == ("head" not in name), name


def test_only_the_readout_needs_memory_for_training() -> None:
    training = Training(SMALL, split_of(SMALL))
    counted = [measured.training_memory_bytes for measured in training]
    assert plan(SMALL, DIGITS).stage_memory_bytes == pytest.approx(counted, rel=0.01)
    longer = plan(SMALL.replace(timesteps=64), DIGITS).stage_memory_bytes
    assert list(longer) == list(plan(SMALL, DIGITS).stage_memory_bytes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoding": "latency"}, "encoding 'latency' is not possible.* use 'rank'"),
        ({"pooling": "average"}, "pooling 'average' .* use 'spiking'"),
        ({"head_hidden": 8}, "head_hidden must be 0 with time_rule 'stdp'.* got 8"),
        ({"weight_decay": 0.1}, "weight_decay must be 0 with time_rule 'stdp'"),
        ({"partition": "2"}, "one unit per block .* use 1\\+1"),
        ({"space_rule": "end-to-end"}, "space_rule 'end-to-end' .* use 'block-local'"),
        ({"architecture": "r4 r4"}, "architecture 'r4 r4' is not possible.* use convolutions"),
        ({"target_sparsity": 0.5}, "rewiring 'closed-loop' .* use 'stdp-quantile'"),
        ({"precision": "bfloat16"}, "precision 'bfloat16' .* use 'float32'"),
    ],
)
def test_what_plasticity_does_not_have_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SMALL.replace(**{"threshold": 4.0, **changes})


def test_other_rules_do_not_remove_connections_as_plasticity_does() -> None:
    with pytest.raises(ConfigError, match=r"rewiring 'stdp-count' .* use 'closed-loop'"):
        RunConfig(rewiring="stdp-count", target_sparsity=0.5)


def test_nir_has_no_neurons_of_plasticity() -> None:
    assert inexpressible(SMALL)[0].startswith("time_rule 'stdp' has no NIR node")


def test_rates_double_in_the_first_layer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later layer learns at the rate of its block."""
    rates: dict[bool, set[float]] = {True: set(), False: set()}

    def noted(conn: Connections, inputs: Tensor, won: Winners, *, rate: float) -> None:
        del inputs, won
        rates[conn.kind == "image"].add(rate)

    monkeypatch.setattr("snn.rules.stdp.strengthen", noted)
    trained(SMALL.replace(train_images=600, epochs=1, stdp_rate=(0.004, 0.02)))
    assert rates == {True: {0.004, 0.008}, False: {0.02}}
