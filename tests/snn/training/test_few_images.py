"""Class routing: hard classes on counts made by hand, and classes or batches with few images."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn.data.dataset import Split
from snn.evaluation.evaluate import evaluate
from snn.network.network import Network, Task
from snn.network.trained import Images
from snn.rules import TIME_RULES, Batch, BatchResult
from snn.rules.operations import LearningOps
from snn.settings.config import RunConfig
from snn.training import stage
from snn.training.routing import hard_classes
from snn.training.stage import Stage
from snn.training.train import Training

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
    assert hard_classes(RunConfig.from_mapping(settings), LABELS, CONFUSION, LABELS) == hard


def test_equal_classes_are_all_easy_by_their_mean_and_the_first_ones_hard_by_share() -> None:
    """In binary the mean of 49 times 1/49 is above 1/49."""
    equal = torch.eye(49, dtype=torch.int64) + torch.eye(49, dtype=torch.int64).roll(1, 0) * 48
    assert hard_classes(RunConfig(class_rule="mean"), range(49), equal, range(49)) == ()
    worst = RunConfig(class_rule="worst-fraction", hard_fraction=0.1)
    assert hard_classes(worst, range(49), equal, range(49)) == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("score", ["recall", "precision"])
def test_a_class_without_validation_images_is_hard(score: str) -> None:
    unseen = torch.tensor([[0, 0], [0, 4]])
    for rule in ("value", "mean", "worst-fraction"):
        config = RunConfig(class_rule=rule, class_score=score)
        assert hard_classes(config, (0, 1), unseen, (0, 1)) == (0,)


def test_a_class_without_training_images_is_never_hard() -> None:
    """The next block could not learn it; shares and means are those of the other classes."""
    present = (3, 5, 7)
    found = {
        rule: hard_classes(RunConfig(class_rule=rule), LABELS, CONFUSION * 0 + 1, present)
        for rule in ("value", "worst-fraction")
    }
    assert found == {"value": (3, 5, 7), "worst-fraction": (3, 5)}
    without = CONFUSION.clone()
    without[0] = 0
    assert hard_classes(RunConfig(class_rule="mean"), LABELS, without, present) == (3, 5)


def split_of(train: Sequence[int], validation: Sequence[int], *, classes: int = 4) -> Split:
    """Random images with these labels; those of one label are alike."""
    draws = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 256, (classes, 1, 6, 6), generator=draws)

    def images(labels: Sequence[int]) -> torch.Tensor:
        noise = torch.randint(-20, 20, (len(labels), 1, 6, 6), generator=draws)
        return (kinds[list(labels)] + noise).clamp(0, 255).to(torch.uint8)

    return Split(
        train_images=images(train),
        train_labels=torch.tensor(train),
        validation_images=images(validation),
        validation_labels=torch.tensor(validation),
        classes=classes,
        mean=torch.full((1, 1, 1), 0.5),
        std=torch.full((1, 1, 1), 0.3),
    )


TINY = RunConfig(
    backbone="mlp2", width=12, head_hidden=0, epochs=2, timesteps=2, partition="1+1", batch_size=8
)
HARD = TINY.replace(block_classes="hard", detector="head")


def run(config: RunConfig, split: Split) -> Training:
    training = Training(config, split)
    for measurement in training:
        assert measurement.spike_rate > 0
    return training


@pytest.mark.parametrize("rule", ["value", "mean", "worst-fraction"])
def test_training_ends_where_only_classes_without_images_would_be_hard(rule: str) -> None:
    """Once a ZeroDivisionError as soon as the first block was good."""
    split = split_of([0, 1] * 20, [0, 1] * 5)
    training = run(HARD.replace(class_rule=rule, class_threshold=0.2, epochs=8), split)
    hard = training.network.block(0).head.hard
    assert set(hard) <= {0, 1}
    assert len(training.network.blocks) == (2 if len(hard) == 2 else 1)


def test_hard_classes_without_validation_images_train_and_are_not_silent() -> None:
    split = split_of([0, 1, 2, 3] * 10, [0, 1] * 5)
    training = run(HARD.replace(class_threshold=0.01, epochs=8), split)
    assert training.network.block(0).head.hard == (2, 3)
    assert training.network.block(1).head.classes == (2, 3)


@settings(max_examples=25, deadline=None)
@given(
    train=st.lists(st.integers(0, 3), min_size=2, max_size=9),
    validation=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    rule=st.sampled_from(["value", "mean", "worst-fraction"]),
    norm=st.sampled_from(["none", "weight-standardised", "batch-over-time"]),
    batch_size=st.integers(2, 4),
)
def test_any_few_images_train_and_are_evaluated(
    train: list[int], validation: list[int], rule: str, norm: str, batch_size: int
) -> None:
    """Classes without images, classes with one, batches with a remainder of one."""
    split = split_of(train, validation)
    config = HARD.replace(class_rule=rule, norm=norm, batch_size=batch_size, epochs=1, dropout=0.1)
    training = Training(config, split)
    for _ in training:
        pass
    images = Images(
        images=split.validation_images,
        labels=split.validation_labels,
        mean=split.mean,
        std=split.std,
    )
    points = evaluate(training.trained, images).points
    assert all(0 <= point.metrics["accuracy"] <= 1 for point in points)


@pytest.mark.parametrize(
    ("images", "size", "norm", "batches"),
    [
        (65, 64, "batch-over-time", [33, 32]),
        (129, 64, "batch-over-time", [64, 33, 32]),
        (66, 64, "batch-over-time", [64, 2]),
        (3, 2, "batch-over-time", [3]),
        (65, 64, "none", [64, 1]),
    ],
)
@pytest.mark.parametrize("backbone", ["mlp2", "vgg5"])
def test_batch_norm_never_sees_a_batch_of_one(
    backbone: str,
    images: int,
    size: int,
    norm: str,
    batches: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once 65 images in batches of 64 became one of 65, which was divided into 64 and 1."""
    seen: list[int] = []
    bptt = TIME_RULES["bptt"]

    def watched(network: Network, batch: Batch, *args: Any, **options: Any) -> BatchResult:
        seen.append(len(batch.labels))
        return bptt(network, batch, *args, **options)

    monkeypatch.setitem(TIME_RULES, "bptt", watched)
    monkeypatch.setattr(stage, "count_operations", lambda *_, **__: LearningOps())
    split = split_of([0, 1, 2, 3, 0] * (images // 5) + [0] * (images % 5), [0, 1])
    config = TINY.replace(backbone=backbone, partition="", norm=norm, batch_size=size, epochs=1)
    for _ in Training(config.replace(width=4), split):
        pass
    assert seen == batches


def test_batch_norm_with_one_training_image_in_the_data_is_refused() -> None:
    split = split_of([1], [0, 1])
    network = Network(TINY.replace(norm="batch-over-time"), Task(image_shape=(1, 6, 6), classes=4))
    with pytest.raises(ValueError, match="needs at least 2 training images, got 1"):
        Stage(network, split, range(4), device="cpu")
