"""What exits say together, on probabilities made by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from snn.evaluation.operating_points import detector_thresholds
from snn.network.exits import ExitOutput, class_probabilities, combined, exit_output
from snn.settings.config import RunConfig

BEFORE = [[0.5, 0.2, 0.2, 0.1], [0.1, 0.3, 0.4, 0.2]]
OWN = [[0.9, 0.1], [0.4, 0.6]]  # of the labels 1 and 3

COMBINED = {
    # labels 1 and 3 had 0.3 and 0.5 together
    "nested": [[0.5, 0.27, 0.2, 0.03], [0.1, 0.2, 0.4, 0.3]],
    "last": [[0, 0.9, 0, 0.1], [0, 0.4, 0, 0.6]],
    "maximum": [[0, 0.9, 0, 0.1], [0, 0.4, 0, 0.6]],
    "mean": [[0.25, 0.55, 0.1, 0.1], [0.05, 0.35, 0.2, 0.4]],
}


def _said(
    combination: str, own: list[list[float]], before: list[list[float]] | None, **changes: Any
) -> torch.Tensor:
    given = {"known": (1, 3), "classes": 4, "visited": 2, **changes}
    return combined(
        combination, torch.tensor(own), None if before is None else torch.tensor(before), **given
    )


def test_outputs_near_one_hot_are_shares_and_others_a_softmax() -> None:
    outputs = torch.tensor([[0.6, 0.2, -0.1], [-1.0, -3.0, -2.0], [0.0, 0.0, 0.0]])
    soft = torch.softmax(outputs, dim=1)
    assert torch.equal(class_probabilities(outputs, loss="mean-readout"), soft)
    shares = class_probabilities(outputs, loss="squared-error")
    assert torch.allclose(shares[0], torch.tensor([0.75, 0.25, 0.0]))
    assert torch.equal(shares[1:], soft[1:])  # nothing positive to share


@pytest.mark.parametrize("combination", COMBINED)
def test_a_block_of_hard_classes_joins_what_was_said(combination: str) -> None:
    said = _said(combination, OWN, BEFORE)
    assert torch.allclose(said, torch.tensor(COMBINED[combination]))


@pytest.mark.parametrize("combination", COMBINED)
def test_the_first_block_says_what_it_sees(combination: str) -> None:
    said = _said(combination, BEFORE, None, known=(0, 1, 2, 3), visited=1)
    assert torch.equal(said, torch.tensor(BEFORE))


@pytest.mark.parametrize("combination", ["nested", "last"])
def test_a_block_of_all_classes_overrules(combination: str) -> None:
    own = [[0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]]
    assert torch.equal(_said(combination, own, BEFORE, known=(0, 1, 2, 3)), torch.tensor(own))


def test_the_most_confident_block_wins_and_the_first_of_equals() -> None:
    own = [[0.6, 0.4], [0.6, 0.4], [0.6, 0.4]]
    before = [[0.7, 0.1, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1]]
    expected = [before[0], [0, 0.6, 0, 0.4], before[2]]
    assert torch.equal(_said("maximum", own, before), torch.tensor(expected))
    # as in the pseudo-code that takes the maximum of every class and then the best class
    best = torch.tensor([[0.7, 0.6, 0.1, 0.4], [0.5, 0.6, 0.1, 0.4], [0.6, 0.6, 0.1, 0.4]])
    assert torch.equal(_said("maximum", own, before).argmax(dim=1), best.argmax(dim=1))


def test_the_mean_weighs_three_blocks_alike(draws: torch.Generator) -> None:
    parts = torch.softmax(torch.randn(3, 5, 4, generator=draws), dim=2)
    said = None
    for visited, own in enumerate(parts, start=1):
        said = combined("mean", own, said, known=(0, 1, 2, 3), classes=4, visited=visited)
    assert said is not None
    assert torch.allclose(said, parts.mean(dim=0))


def _output(**changes: Any) -> ExitOutput:
    """Of the second of two blocks; the first word is on an easy, the second on a hard class."""
    config = RunConfig(partition="1+2", block_classes="hard", **changes)
    head = SimpleNamespace(classes=(1, 3), hard=(3,), detector=None)
    network: Any = SimpleNamespace(
        config=config, task=SimpleNamespace(classes=4), block=lambda _: SimpleNamespace(head=head)
    )
    readout = torch.log(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    return exit_output(network, 1, readout, torch.zeros(2, 5), torch.tensor([BEFORE[0], BEFORE[1]]))


def test_confidence_and_label_are_of_what_is_said_together() -> None:
    nested = _output(detector="none")
    assert nested.label.tolist() == [0, 3]
    assert nested.confidence.tolist() == pytest.approx([0.5, 0.45])
    last = _output(detector="none", exit_combination="last")
    assert last.label.tolist() == [1, 3]
    assert last.confidence.tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize(
    ("detector", "p_hard"),
    [
        ("none", [0.0, 0.0]),
        ("mass", [0.03, 0.45]),  # on class 3, the only one that is hard after this block
        ("predicted", [0.0, 1.0]),
        ("head", [1.0, 1.0]),  # a block without a detector of its own has only hard classes
    ],
)
def test_every_detector_says_how_hard_an_input_is(detector: str, p_hard: list[float]) -> None:
    assert _output(detector=detector).p_hard.tolist() == pytest.approx(p_hard)


@pytest.mark.parametrize(
    ("settings", "thresholds"),
    [
        ({"detector": "none"}, [0.5]),
        ({"detector": "mass", "detector_threshold": 0.3}, [0.05, 0.2, 0.3, 0.5, 0.8]),
        ({"detector": "head"}, [0.05, 0.2, 0.5, 0.8]),
        ({"detector": "predicted"}, [0.5, 1.0]),
        ({"detector": "predicted", "detector_threshold": 1.0}, [0.0, 1.0]),
    ],
)
def test_the_family_tries_thresholds_that_the_detector_can_tell_apart(
    settings: dict[str, Any], thresholds: list[float]
) -> None:
    assert detector_thresholds(RunConfig(partition="1+2", **settings)) == thresholds
