"""What BlocTrain claims (Srinivasan & Roy 2021): accuracy and memory, and what exits save."""

import dataclasses

from benchmarks import bloctrain as blocks
from benchmarks.claims.claim import (
    Claim,
    Elsewhere,
    Place,
    Published,
    Results,
    Row,
    Run,
    Scale,
    Values,
    sizes,
)
from benchmarks.claims.tested import compare_blocks
from benchmarks.memory import RESNET9
from search.worker.engine import plan
from snn.settings.config import RunConfig

EPOCHS = 7  # of CIFAR-10: end to end, base and conditional in two hours on two cores
CIFAR10 = tuple(
    Elsewhere(
        what=f"test accuracy, {form}",
        kind="fraction",
        published=Published(value=value, label="paper", of="ResNet-9 in three blocks, CIFAR-10"),
    )
    for form, value in (("base", 0.8831), ("conditional", 0.864))
)


def block_setup(scale: Scale) -> blocks.Setup:
    """ResNet-9 in BlocTrain's three blocks."""
    setup = blocks.setup_for(scale.dataset, quick=scale.quick)
    if scale.dataset == "cifar10":
        config = setup.config
        if not scale.published:
            small = {"width": 8, "epochs": 1} if scale.quick else {"width": 32, "epochs": EPOCHS}
            config = config.replace(
                head_hidden=256,
                norm="batch-over-time",
                timesteps=2,
                batch_size=128,
                validation_fraction=0.1,
                precision="auto",
                dropout=0.0,
                **small,
            )
        return dataclasses.replace(setup, config=scale.sized(config))
    config = setup.config.replace(
        backbone="resnet9", partition="2+1+1", epochs=1 if scale.quick else 2
    )
    # its first block holds a residual unit, so that few classes are below 90 %
    return dataclasses.replace(setup, config=scale.sized(config), class_threshold=0.97)


def _block_runs(scale: Scale) -> tuple[Run, ...]:
    setup = block_setup(scale)

    def measure(config: RunConfig, place: Place) -> Values:
        return compare_blocks(dataclasses.replace(setup, config=config), place)

    name = f"blocks, classes easy from {setup.class_threshold:g}"
    return tuple(
        Run(name=name, config=setup.config.replace(seed=seed), measure=measure)
        for seed in range(scale.seeds)
    )


def _plan_blocks(config: RunConfig, place: Place) -> Values:
    del place
    local, whole = plan(config), plan(config.replace(partition=str(sum(config.blocks))))
    together = plan(config.replace(space_rule="end-to-end"))
    most = max(local.stage_memory_bytes)
    return {
        **blocks.memory_savings(whole.training_memory_bytes, local.stage_memory_bytes),
        "memory_saving_same_exits": together.training_memory_bytes / most,
        "memory_overhead": local.parameters / whole.parameters,
    }


def _block_deviations(scale: Scale) -> tuple[str, ...]:
    config = block_setup(scale).config
    unknown = "the published number of timesteps, epochs and every threshold are unknown"
    size = f"ResNet-9 of width {config.width} instead of 64"
    if scale.dataset == "mnist":
        size += ", on MNIST instead of CIFAR-10"
    elif scale.published:
        size = unknown
    else:
        size += f"; {unknown}"
    return (
        f"{size}; T = {config.timesteps}, {sizes(config)}",
        "which classes are hard is decided by a fixed accuracy "
        f"({block_setup(scale).class_threshold:g}); the published threshold is unknown, as are "
        "classifiers, detectors and how outputs are combined",
        "one share of images held out for base and conditional alike, where the published base "
        "trains on all 50,000",
        "nothing is known of how the published memory and operations were counted; ours are bytes "
        "of weights, gradients, optimizer state and what is kept for backward, and accumulates",
    )


def bloctrain(scale: Scale) -> Claim:
    """Srinivasan & Roy 2021."""
    runs = _block_runs(scale)
    name, network = runs[0].name, f"ResNet-9, {scale.dataset}"
    planned = Run(
        name="planned at full size", config=RESNET9, measure=_plan_blocks, is_trained=False
    )
    is_same = scale.dataset == "cifar10"

    def rows(results: Results) -> list[Row]:
        of = "ResNet-9 in three blocks, CIFAR-10"
        accuracies = {
            "end_to_end": Published(value=0.9035, label="secondary", of="ResNet-9, Lee et al."),
            "base": Published(value=0.8831, label="paper", of=of),
            "conditional": Published(value=0.864, label="paper", of=f"{of}, 40,000 images"),
        }
        made = [
            Row(
                name=f"accuracy_{form}",
                what=f"{network}, {form.replace('_', ' ')}: test accuracy, all blocks",
                kind="fraction",
                values=results.over_seeds(name, f"accuracy_{form}"),
                published=published,
                is_aim=is_same,
            )
            for form, published in accuracies.items()
        ]
        saving = Published(value=2.95, label="paper", of=f"{of}, up to")
        full = "ResNet-9 of width 64, planned"
        for run, key, what in (
            (
                name,
                "memory_saving",
                f"{network}: training memory end to end over the largest block",
            ),
            (name, "memory_saving_mean_block", f"{network}: the same over the mean block"),
            (planned.name, "memory_saving", f"{full}: end to end over the largest block"),
            (planned.name, "memory_saving_mean_block", f"{full}: the same over the mean block"),
            (
                planned.name,
                "memory_saving_same_exits",
                f"{full}: end to end with an exit per block over the largest block",
            ),
        ):
            made.append(
                Row(
                    name=key if run == name else f"{key}_full_size",
                    what=what,
                    kind="times",
                    values=results.over_seeds(run, key),
                    published=saving,
                    is_aim=run != name and key == "memory_saving",
                )
            )
        weight = Published(value=1.45, label="paper", of=of)
        made.append(
            Row(
                name="memory_overhead",
                what=f"{network}, conditional: stored bytes over end to end",
                kind="times",
                values=results.over_seeds(name, "memory_overhead_conditional"),
                better="lower",
                published=weight,
            )
        )
        made.append(
            Row(
                name="memory_overhead_full_size",
                what="ResNet-9 of width 64, base: parameters over end to end",
                kind="times",
                values=results.over_seeds(planned.name, "memory_overhead"),
                better="lower",
                published=weight,
                is_aim=True,
            )
        )
        return made

    return Claim(
        name="bloctrain",
        title="Block-local training",
        about="ResNet-9 in three blocks `2+1+1`, one after another by local errors, every block on "
        "all classes (base) or deeper blocks on hard classes alone (conditional), against the same "
        "network end to end with one exit. What is planned counts the bytes of the published "
        f"network at T = {RESNET9.timesteps} with batches of {RESNET9.batch_size}, and trains "
        "nothing.",
        source="Srinivasan, Roy, Frontiers in Neuroscience 15:603433, 2021",
        runs=(*runs, planned),
        rows=rows,
        deviations=_block_deviations(scale),
        elsewhere=(
            *(() if is_same else CIFAR10),
            Elsewhere(
                what="test accuracy, conditional",
                kind="fraction",
                published=Published(
                    value=0.5821, label="paper", of="ResNet-11 in four blocks, CIFAR-100"
                ),
            ),
        ),
    )


def exits(scale: Scale) -> Claim:
    """Srinivasan & Roy 2021, what exits save."""
    runs = _block_runs(scale)
    name, network = runs[0].name, f"ResNet-9, {scale.dataset}"
    published = Published(value=1.89, label="paper", of="ResNet-9 in three blocks, CIFAR-10")

    def rows(results: Results) -> list[Row]:
        made = []
        name_of = {"accuracy": "accuracy_all_blocks"}  # that of `bloctrain` has a figure already
        for form in ("base", "conditional"):

            def row(
                key: str, what: str, published: Published | None = None, *, form: str = form
            ) -> Row:
                is_ratio = key.startswith("compute")
                is_accuracy = key.startswith("accuracy")
                return Row(
                    name=f"{name_of.get(key, key)}_{form}",
                    what=f"{network}, {form}: {what}",
                    kind="times" if is_ratio else "fraction" if is_accuracy else "count",
                    values=results.over_seeds(name, f"{key}_{form}"),
                    better="higher" if is_ratio or is_accuracy else "lower",
                    published=published,
                    is_aim=published is not None,
                )

            made += [
                row("accuracy", "test accuracy, all blocks"),
                row("accuracy_with_exits", "test accuracy with exits"),
                row("blocks_with_exits", "blocks run per image, mean"),
                row("ops_with_exits", "accumulates with exits over those of all blocks"),
                row(
                    "compute_efficiency",
                    "accumulates end to end over ours with exits",
                    published if form == "conditional" else None,
                ),
                row(
                    "compute_efficiency_dense",
                    "the same, every connection at every timestep counted",
                    published if form == "conditional" else None,
                ),
            ]
        return made

    return Claim(
        name="exits",
        title="Early exits at equal accuracy",
        about="The networks of block-local training. The exit threshold is the one with fewest "
        "operations that loses no accuracy on the validation images; test images then run there.",
        source="Srinivasan, Roy, Frontiers in Neuroscience 15:603433, 2021",
        runs=runs,
        rows=rows,
        deviations=_block_deviations(scale),
    )
