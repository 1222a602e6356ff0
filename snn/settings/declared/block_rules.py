"""The learning rule over blocks, and the classes that are hard after a block."""

from dataclasses import dataclass

from snn.settings.setting import choice, fraction


@dataclass(frozen=True, kw_only=True)
class BlockRuleSettings:
    """The learning rule over blocks, and the classes that are hard after a block."""

    space_rule: str = choice(
        "block-local",
        ("block-local", "end-to-end"),
        "learning rule over blocks: each block trained after the one before it, by its own exit "
        "(block-local), or all blocks together (end-to-end)",
    )
    block_classes: str = choice(
        "all",
        ("all", "hard"),
        "classes that the blocks after the first are trained on: all, or the hard ones",
    )
    class_rule: str = choice(
        "value",
        ("value", "mean", "worst-fraction"),
        "classes that are hard after a block: those with a score below class_threshold (value), "
        "below the mean of the block's classes (mean), or the lowest ones (worst-fraction)",
    )
    class_score: str = choice(
        "recall",
        ("recall", "precision"),
        "score of a class: validation accuracy over the images with its label (recall), or over "
        "the images predicted as it (precision)",
    )
    class_threshold: float = fraction(0.9, "score from which a class is easy, for class_rule value")
    hard_fraction: float = fraction(
        0.5, "fraction of a block's classes that are hard, for class_rule worst-fraction"
    )
    detector: str = choice(
        "",
        ("none", "mass", "head", "predicted"),
        "detection of hard inputs, which do not exit: none, by the probability of the hard "
        "classes (mass), by a trained output (head), or by a predicted class that is hard",
    )
