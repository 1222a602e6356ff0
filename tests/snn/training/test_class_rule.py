"""Which classes are hard, on counts made by hand."""

import pytest
import torch

from snn.settings.config import RunConfig
from snn.training.routing import hard_classes

LABELS = (2, 3, 5, 7)
# recalls 9/10, 5/10, 6/10, 8/10; precisions 9/12, 5/5, 6/12, 8/11
CONFUSION = torch.tensor([[9, 0, 1, 0], [1, 5, 3, 1], [2, 0, 6, 2], [0, 0, 2, 8]])


@pytest.mark.parametrize(
    ("settings", "hard"),
    [
        ({"class_threshold": 0.9}, (3, 5, 7)),  # the class at the threshold itself is easy
        ({"class_threshold": 0.6}, (3,)),
        ({"class_threshold": 0.0}, ()),
        ({"class_threshold": 1.0}, (2, 3, 5, 7)),
        ({"class_rule": "mean"}, (3, 5)),  # the mean is 0.7
        ({"class_rule": "worst-fraction"}, (3, 5)),
        ({"class_rule": "worst-fraction", "hard_fraction": 0.625}, (3, 5, 7)),  # 2.5 of 4
        ({"class_rule": "worst-fraction", "hard_fraction": 0.6}, (3, 5)),  # 2.4 of 4
        ({"class_rule": "worst-fraction", "hard_fraction": 0.0}, ()),
        ({"class_rule": "worst-fraction", "hard_fraction": 1.0}, (2, 3, 5, 7)),
        ({"class_score": "precision", "class_threshold": 0.75}, (5, 7)),
        ({"class_score": "precision", "class_rule": "mean"}, (5, 7)),  # the mean is 0.744
        ({"class_score": "precision", "class_rule": "worst-fraction"}, (5, 7)),
    ],
)
def test_the_rule_that_is_asked_for_decides(
    settings: dict[str, object], hard: tuple[int, ...]
) -> None:
    assert hard_classes(RunConfig.from_mapping(settings), LABELS, CONFUSION) == hard


def test_equal_classes_are_all_easy_by_their_mean_and_the_first_ones_hard_by_share() -> None:
    """In binary the mean of 49 times 1/49 is above 1/49."""
    equal = torch.eye(49, dtype=torch.int64) + torch.eye(49, dtype=torch.int64).roll(1, 0) * 48
    assert hard_classes(RunConfig(class_rule="mean"), range(49), equal) == ()
    worst = RunConfig(class_rule="worst-fraction", hard_fraction=0.1)
    assert hard_classes(worst, range(49), equal) == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("score", ["recall", "precision"])
def test_a_class_that_nothing_is_known_of_is_hard(score: str) -> None:
    unseen = torch.tensor([[0, 0], [0, 4]])
    for rule in ("value", "mean", "worst-fraction"):
        config = RunConfig(class_rule=rule, class_score=score)
        assert hard_classes(config, (0, 1), unseen) == (0,)
