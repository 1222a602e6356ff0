"""A method from outside: registered in one file, named among the choices, trained, removed."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from snn.lif.surrogate import SURROGATES, Surrogate, spike
from snn.network.connections import Connections
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.parametrizations import MaskParametrization
from snn.rewiring import FORMS, Rewirer, rewiring
from snn.rules import TIME_RULES, Batch, BatchResult, time_rule
from snn.settings import config as settings
from snn.settings.config import SETTINGS, ConfigError, RunConfig
from tests.snn.training.test_train import SMALL, trained

NAME = "of-a-test"
TINY = SMALL.replace(epochs=1, partition="", train_images=64, backbone="mlp2")


@pytest.fixture(params=["time_rule", "rewiring", "surrogate"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The setting whose choices have a method of the test, for as long as the test runs."""
    setting = request.param
    registry = {"time_rule": TIME_RULES, "rewiring": FORMS, "surrogate": SURROGATES}[setting]
    choices = (*SETTINGS[setting].choices, NAME)
    wider = dataclasses.replace(SETTINGS[setting], choices=choices)
    monkeypatch.setitem(SETTINGS, setting, wider)  # type: ignore[arg-type]
    {"time_rule": add_rule, "rewiring": add_form, "surrogate": add_surrogate}[setting](monkeypatch)
    assert NAME in registry
    yield setting
    registry.pop(NAME, None)


def add_rule(_: pytest.MonkeyPatch) -> None:
    @time_rule(NAME)
    def last_timestep(
        network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
    ) -> BatchResult:
        outputs = network.run(batch.drive, state, timesteps=batch.timesteps, frozen=batch.frozen)
        logits = outputs.logits[-1][-1]
        loss = torch.nn.functional.cross_entropy(logits, batch.labels)
        (loss * batch.share).backward()  # type: ignore[no-untyped-call]
        apply()
        correct = (logits.argmax(dim=1) == batch.labels).sum()
        return BatchResult(loss=loss.detach(), correct=correct)


def add_form(_: pytest.MonkeyPatch) -> None:
    class Fixed:
        def __init__(self, connections: Sequence[Connections], target: float) -> None:
            for conn in connections:
                mask = MaskParametrization(conn.weight, has_signs=False)
                mask.alive.flatten()[: round(target * mask.alive.numel())] = False
                conn.parametrization = mask

        def before_step(self, step: int, *, learning_rate: float) -> None:
            pass

        def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
            pass

    @rewiring(NAME)
    def fixed(connections: Sequence[Connections], config: RunConfig, index: int) -> Rewirer:
        return Fixed(connections, config.target_sparsity)


def add_surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    def derivative(x: Tensor, slope: float) -> Tensor:
        return slope * (x.abs() * slope < 0.5).to(x)

    def primitive(x: Tensor, slope: float) -> Tensor:
        return (slope * x).clamp(-0.5, 0.5)

    SURROGATES[NAME] = Surrogate(derivative=derivative, primitive=primitive)
    monkeypatch.setitem(settings.SURROGATE_SLOPES, NAME, 1.0)


def test_a_method_from_outside_is_searched_and_trained_like_any_other(method: str) -> None:
    sparsity = {"target_sparsity": 0.5} if method == "rewiring" else {}
    plain, own = (
        trained(TINY.replace(**sparsity)),
        trained(TINY.replace(**sparsity, **{method: NAME})),
    )
    assert own.config.to_mapping()[method] == NAME
    weights = [t.network.block(0).units[0].layer.connections[0].weight for t in (plain, own)]
    assert not torch.equal(*weights)
    if method == "rewiring":
        assert (weights[1] == 0).double().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("setting", ["time_rule", "rewiring", "surrogate"])
def test_without_its_fixture_the_method_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be one of"):
        RunConfig(**{setting: NAME})  # type: ignore[arg-type]


def test_a_surrogate_without_compiled_code_runs_in_the_eager_body() -> None:
    SURROGATES[NAME] = SURROGATES["triangular"]
    try:
        x = torch.linspace(-2, 2, 9, requires_grad=True)
        spike(x, NAME, 1.0).sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad, SURROGATES["triangular"].derivative(x.detach(), 1.0))
    finally:
        del SURROGATES[NAME]


def test_every_choice_of_a_setting_has_a_method() -> None:
    assert set(SETTINGS["time_rule"].choices) == TIME_RULES.keys()
    assert set(SETTINGS["rewiring"].choices) == FORMS.keys()
    assert set(SETTINGS["surrogate"].choices) == SURROGATES.keys()
