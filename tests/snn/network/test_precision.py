"""Training in half precision: what is rounded, and what is not."""

import math

import pytest
import torch
from torch import Tensor

from snn.network.blocks import build_block, connections_of, layers_of
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task, input_signal
from snn.rules import TIME_RULES, Batch
from snn.settings.config import RunConfig
from snn.training.plan import plan
from snn.training.precision import fastest
from snn.training.train import Training
from tests.snn.training.test_train import split_of

TASK = Task(image_shape=(1, 8, 8), classes=10)
SMALL = RunConfig(backbone="vgg5", width=8, timesteps=4, partition="3", threshold=0.5)
UNIT = 2.0**-8  # of bfloat16, the largest relative error of a rounding
IS_NATIVE = fastest("cpu").precision == "bfloat16"
"""Whether the processor adds products in single precision; others round partial sums."""


def network(config: RunConfig) -> Network:
    made = Network(config, TASK)
    made.blocks.append(build_block(config, 0, input_signal(config, TASK), range(10)))
    return made.train()


def step(config: RunConfig) -> tuple[float, list[Tensor]]:
    """Loss and gradients of one batch."""
    live = network(config)
    draws = torch.Generator().manual_seed(3)
    batch = Batch(
        drive=torch.randn(1, 64, *TASK.image_shape, generator=draws),
        labels=torch.randint(10, (64,), generator=draws),
        frozen=0,
        timesteps=config.timesteps,
        loss=config.loss,
    )
    state = ForwardContext(generator=draws)
    result = TIME_RULES[config.time_rule](live, batch, state, apply=lambda: None)
    grads = [p.grad for p in live.parameters() if p.grad is not None]
    return float(result.loss), grads


RULES = {
    "bptt": SMALL,
    "hard": SMALL.replace(reset="hard"),
    "learned": SMALL.replace(neuron="learned"),
    "individual": SMALL.replace(neuron="individual"),
    "batch-norm": SMALL.replace(norm="batch-over-time"),
    "spike-bp": SMALL.replace(reset="hard", leak=0.9, time_rule="spike-bp"),
    **{rule: SMALL.replace(time_rule=rule) for rule in ("ottt-a", "ottt-o", "saf-e", "saf-f")},
}
assert {config.time_rule for config in RULES.values()} == set(TIME_RULES) - {
    "conversion",
    "dsr",
    "membrane-trace",
    "spike-time",
    "stdp",
    "encoder",
}  # refused


@pytest.mark.parametrize("name", RULES)
def test_loss_and_gradients_are_those_of_single_precision_but_for_rounding(name: str) -> None:
    config = RULES[name]
    loss, grads = step(config)
    half_loss, half_grads = step(config.replace(precision="bfloat16"))
    assert half_loss != loss
    assert half_loss == pytest.approx(loss, rel=0.05)
    assert {grad.dtype for grad in half_grads} == {torch.float32}
    # a rounded current moves a spike now and then: bounded by what was seen, not by theory
    assert torch.cosine_similarity(joined(half_grads), joined(grads), dim=0) > 0.93


def joined(grads: list[Tensor]) -> Tensor:
    """Those of maps: the sums of all neurons' gradients by a constant cancel."""
    return torch.cat([grad.flatten() for grad in grads if grad.dim() > 1])


def test_gradients_of_one_map_are_rounded_and_no_more() -> None:
    live = network(SMALL.replace(precision="bfloat16"))
    conn = connections_of(live)[1]
    spikes = (torch.rand(2, 3, conn.weight.shape[1], 4, 4) < 0.3).float().requires_grad_()
    by = torch.randn(2, 3, conn.weight.shape[0], 4, 4).to(torch.bfloat16).float()
    weight = conn.effective_weight().detach().to(torch.bfloat16).float().requires_grad_()
    half = torch.autograd.grad((conn(spikes, weight) * by).sum(), (spikes, weight))
    conn.trained_in = torch.float32
    single = torch.autograd.grad((conn(spikes, weight) * by).sum(), (spikes, weight))
    strength = weight.detach().abs().requires_grad_()
    sizes = torch.autograd.grad((conn(spikes, strength) * by.abs()).sum(), (spikes, strength))
    for mine, theirs, size in zip(half, single, sizes, strict=True):
        assert mine.dtype == torch.float32
        bound = UNIT * theirs.abs() if IS_NATIVE else 3 * UNIT * size  # of all that is summed
        assert ((mine - theirs).abs() <= bound + 1e-5).all()


@pytest.mark.parametrize("mode", ["packed", "checkpointed"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_every_memory_mode_has_the_gradients_of_the_full_one(mode: str, dropout: float) -> None:
    config = SMALL.replace(precision="bfloat16", dropout=dropout)
    loss, grads = step(config.replace(memory_mode="full"))
    other_loss, other = step(config.replace(memory_mode=mode))
    assert other_loss == loss
    if mode == "packed":
        assert all(map(torch.equal, other, grads))
    else:  # the gradients of weights are rounded once per segment
        roundings = 2 if IS_NATIVE else 4
        assert (joined(other) - joined(grads)).norm() <= roundings * UNIT * joined(grads).norm()


def test_a_spike_is_mapped_exactly_and_its_current_rounded_once() -> None:
    live = network(SMALL.replace(precision="bfloat16"))
    conn = connections_of(live)[1]
    spikes = (torch.rand(2, 3, conn.weight.shape[1], 4, 4) < 0.3).float()
    weight = conn.effective_weight()
    current = conn(spikes, weight)
    rounded = weight.to(torch.bfloat16).float()
    exact = conn.eval()(spikes, rounded)
    assert current.dtype == torch.float32
    # summed in single precision, then rounded
    assert ((current - exact).abs() <= UNIT * exact.abs() + 1e-6).all()
    assert not torch.equal(current, exact)


def test_evaluation_and_frozen_blocks_and_the_image_stay_in_single_precision() -> None:
    live, single = network(SMALL.replace(precision="bfloat16")), network(SMALL)
    image, inner = connections_of(live)[:2]
    same_image, same_inner = connections_of(single)[:2]
    x = torch.randn(1, 2, 1, 8, 8)
    assert torch.equal(image(x, image.effective_weight()), same_image(x, image.effective_weight()))
    spikes = (torch.rand(2, 3, inner.weight.shape[1], 4, 4) < 0.3).float()
    weight = inner.effective_weight()
    exact = same_inner(spikes, weight)
    assert not torch.equal(inner(spikes, weight), exact)
    inner.weight.requires_grad_(False)  # as in a finished block
    assert torch.equal(inner(spikes, weight), exact)
    inner.weight.requires_grad_(True)
    assert torch.equal(inner.eval()(spikes, weight), exact)


@pytest.mark.parametrize("rule", ["ottt-a", "saf-e", "saf-f"])
def test_rules_that_run_forward_keep_no_more_than_in_single_precision(rule: str) -> None:
    single = SMALL.replace(time_rule=rule)
    half = plan(single.replace(precision="bfloat16"), TASK)
    assert half.training_memory_bytes <= plan(single, TASK).training_memory_bytes


def test_it_is_part_of_what_names_a_training() -> None:
    half = SMALL.replace(precision="bfloat16")
    assert half.training_fingerprint != SMALL.training_fingerprint


def test_it_trains_as_well_as_single_precision() -> None:
    single = SMALL.replace(partition="2+1", epochs=5, batch_size=32)
    half = single.replace(precision="bfloat16")
    ours, theirs = (list(Training(c, split_of(c)))[-1] for c in (half, single))
    assert ours.loss != theirs.loss
    assert ours.loss == pytest.approx(theirs.loss, abs=0.02)
    # 288 validation images, and two trainings that part in their first step: three sigmas
    spread = 3 * math.sqrt(2 * 0.97 * 0.03 / 288)
    assert ours.accuracy == pytest.approx(theirs.accuracy, abs=spread)
    assert theirs.accuracy > 0.95


@pytest.mark.parametrize("mode", ["full", "packed", "checkpointed"])
def test_the_estimate_covers_half_precision(mode: str) -> None:
    single = SMALL.replace(partition="2+1", epochs=1, train_images=64, memory_mode=mode)
    half = single.replace(precision="bfloat16")
    counted = [m.training_memory_bytes for m in Training(half, split_of(half))]
    planned = plan(half, TASK).stage_memory_bytes
    assert planned == pytest.approx(counted, rel=0.01)
    if mode == "full":  # spikes take half, potentials all
        assert planned[-1] < 0.9 * plan(single, TASK).stage_memory_bytes[-1]


def test_every_gradient_that_enters_batch_norm_has_the_memory_order_of_its_input() -> None:
    """That of the first layer, whose current is constant, had not: torch then takes ten times."""
    live, entered = network(SMALL.replace(norm="batch-over-time", precision="bfloat16")), []

    def watch(norm: torch.nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        made.register_hook(lambda grad: entered.append((given[0].stride(), grad.stride())))

    norms = [part for part in live.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.register_forward_hook(watch)
    run = live.run(torch.randn(1, 6, *TASK.image_shape), ForwardContext(), timesteps=4)
    run.logits[0].sum().backward()
    assert len(entered) == len(norms) > 1
    assert all(given == grad for given, grad in entered)


@pytest.mark.parametrize("steps", [2, 16])
def test_a_constant_current_has_the_gradient_of_torchs_expand(steps: int) -> None:
    draws = torch.Generator().manual_seed(2)
    current = torch.randn(1, 6, 5, 5, 8, generator=draws).permute(0, 1, 4, 2, 3).requires_grad_()
    grad = torch.randn(steps, 6, 5, 5, 8, generator=draws).permute(0, 1, 4, 2, 3)
    live = network(SMALL.replace(precision="bfloat16"))
    (ours,) = torch.autograd.grad(layers_of(live)[0]._repeated(current, steps), current, grad)
    (expected,) = torch.autograd.grad(current.expand(steps, *current.shape[1:]), current, grad)
    torch.testing.assert_close(ours, expected)  # added up in another order
    assert ours.stride() == current.stride()
