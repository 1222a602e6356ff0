"""Which classes are hard behind a block (BlocTrain, Srinivasan & Roy 2021)."""

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor

from snn.settings.config import RunConfig


def hard_classes(config: RunConfig, classes: Sequence[int], confusion: Tensor) -> tuple[int, ...]:
    """Those of `classes` that `class_rule` calls hard.

    `confusion` (classes, classes) counts validation images by label and decision.
    By `class_score` a class scores its correct images per image with its label
    (recall) or per image taken for it (precision); without such images 0, because
    nothing says that it is easy. Computed in fractions: a class that scores
    exactly a decimal threshold, or the mean of all, is easy. The worst share is
    rounded half up, and of equally bad classes the earlier ones are in it first.
    """
    right = confusion.diagonal().tolist()
    counts = confusion.sum(dim=1 if config.class_score == "recall" else 0).tolist()
    scores = [Fraction(*pair) for pair in zip(right, (max(n, 1) for n in counts), strict=True)]
    if config.class_rule == "worst-fraction":
        count = int(_exact(config.hard_fraction) * len(scores) + Fraction(1, 2))
        hard = set(sorted(range(len(scores)), key=lambda index: scores[index])[:count])
    elif config.class_rule == "mean":
        mean = sum(scores, Fraction(0)) / len(scores)
        hard = {index for index, score in enumerate(scores) if score < mean}
    else:
        threshold = _exact(config.class_threshold)
        hard = {index for index, score in enumerate(scores) if score < threshold}
    return tuple(label for index, label in enumerate(classes) if index in hard)


def _exact(value: float) -> Fraction:
    """The decimal that was written, not the binary number next to it."""
    return Fraction(str(value))
