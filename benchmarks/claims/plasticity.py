"""What plasticity without labels claims: accuracy of a linear readout, and learning made cheap."""

from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.claims.claim import Claim, Place, Published, Results, Row, Run, Scale, Values, sizes
from benchmarks.claims.tested import held_out, split_for
from snn.evaluation.evaluate import sampled_setting
from snn.evaluation.operating_points import OperatingPointEvaluator
from snn.evaluation.recording import record
from snn.settings.config import RunConfig
from snn.training.stage import Stage
from snn.training.train import Training

CUT = 0.9283  # of all connections, as published
CUT_BY_LAYER = (0.78, 0.9366)
"""The same in sum: the first layer cannot lose more, since a map must reach its threshold."""
LATER_RATE = 0.02
"""Of the second layer: published is 0.004, over 20 epochs of 60,000 images."""
FORMS: Mapping[str, Mapping[str, Any]] = {
    "all connections": {},
    **{
        f"cut by {form}": {"target_sparsity": CUT_BY_LAYER, "rewiring": f"stdp-{form}"}
        for form in ("quantile", "final", "count")
    },
}
SHOWN = {
    "accuracy": ("test accuracy", "fraction", "higher"),
    "plastic_connectivity": ("connections with plasticity that are left", "fraction", "lower"),
    "learning_ops": ("operations of plasticity", "count", "lower"),
    "training_ops": ("operations of the whole training", "count", "lower"),
    "synaptic_ops": ("synaptic operations per image", "count", "lower"),
    "spikes_per_inference": ("spikes per image", "count", "lower"),
    "training_memory_bytes": ("training memory, bytes", "count", "lower"),
}


def learnt_and_tested(config: RunConfig, place: Place) -> Values:
    """Test metrics, and what plasticity took: accumulates of spikes and written weights."""
    torch.set_num_threads(place.threads)
    split = split_for(config, place)
    training = Training(config, split, device=place.device)
    spent: dict[int, tuple[float, int, int]] = {}
    for measured in training:
        stage = training._stage
        assert isinstance(stage, Stage)
        (conn,) = (part for part in stage.connections if part.plasticity is not None)
        assert conn.plasticity is not None
        alive = int((conn.weight != 0).sum())
        spent[measured.block] = (
            conn.plasticity.operations,
            alive,
            conn.weight.numel(),
        )
    trained = training.trained
    evaluator = OperatingPointEvaluator(
        trained, record(trained.network, held_out(split, config.dataset, place))
    )
    operations, alive, possible = map(sum, zip(*spent.values(), strict=True))
    never = sampled_setting(config.replace(exit_threshold=(1.0,)), len(trained.network.blocks))
    return {
        **evaluator.point(never).metrics,
        "learning_ops": operations,
        "plastic_connectivity": alive / possible,
    }


def stdp(scale: Scale) -> Claim:
    """Kheradpisheh et al. 2018; Nguyen et al. 2021."""
    config = scale.sized(
        RunConfig(
            dataset=scale.dataset,
            time_rule="stdp",
            architecture="c32k5p c100k3p",
            partition="1+1",
            head_hidden=0,
            norm="none",
            pooling="spiking",
            timesteps=15,
            batch_size=16,
            epochs=1 if scale.quick else 2,
            train_images=160 if scale.quick else 2_000,
            validation_fraction=0.005,
            learning_rate=2e-2,
        ).replace(threshold=(10.0, 6.0), stdp_rate=(0.004, LATER_RATE))
    )
    runs = tuple(
        Run(name=name, config=config.replace(seed=seed, **changes), measure=learnt_and_tested)
        for name, changes in FORMS.items()
        for seed in range(scale.seeds)
    )
    network = f"{config.architecture}, {scale.dataset}"

    def rows(results: Results) -> list[Row]:
        made = [
            Row(
                name=f"{key}_{name.replace(' ', '_')}",
                what=f"{network}, {name}: {what}",
                kind=kind,  # type: ignore[arg-type]
                values=results.over_seeds(name, key),
                better=better,  # type: ignore[arg-type]
            )
            for name in FORMS
            for key, (what, kind, better) in SHOWN.items()
            if results.has(name, key)
        ]
        whole, cut = "all connections", "cut by quantile"
        uncut = results.over_seeds(whole, "accuracy")
        made += [
            Row(
                name=f"lost_{name.replace(' ', '_')}",
                what=f"{network}, {name}: points lost against all connections",
                kind="points",
                values=tuple(
                    100 * (all_of - left)
                    for all_of, left in zip(
                        uncut, results.over_seeds(name, "accuracy"), strict=True
                    )
                ),
                better="lower",
            )
            for name in FORMS
            if name != whole and results.has(name, "accuracy")
        ]
        published = Published(value=2.1, label="paper", of="Caltech-101, as a time")
        for key, name, of in (
            ("learning_ops", "learning_speedup", published),
            ("training_ops", "training_speedup", None),
        ):
            if all(results.has(form, key) for form in (whole, cut)):
                made.append(
                    Row(
                        name=name,
                        what=f"{network}: {SHOWN[key][0]}, all connections over cut ones",
                        kind="times",
                        values=results.ratios(whole, cut, key),
                        published=of,
                    )
                )
        return made

    return Claim(
        name="stdp",
        title="Plasticity without labels",
        about="Two layers of maps learn from first spikes without labels, a linear readout from "
        "the labels. Connections are removed while the layers learn (quantile, count) or after "
        "it (final). Operations of plasticity are counted: accumulates of the spikes that arrive "
        "over existing connections, and written weights.",
        source="Kheradpisheh and others, Neural Networks 99, 2018; Nguyen, Veeravalli, Fong, "
        "arXiv 2010.04351, 2021",
        runs=runs,
        rows=rows,
        deviations=(
            f"{sizes(config)} per layer, batches of {config.batch_size} images",
            "which connections are removed could not be read in the paper: the three ways are ours",
            "a linear readout by gradient instead of a support vector machine",
        ),
    )
