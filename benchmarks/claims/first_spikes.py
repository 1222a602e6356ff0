"""What networks of single spikes claim: accuracy with one spike per neuron, and early answers."""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim, Place, Published, Results, Row, Run, Scale, Values, sizes
from benchmarks.claims.tested import evaluator_of
from snn.evaluation.evaluate import sampled_setting
from snn.evaluation.operating_points import OperatingSetting, first_spike
from snn.settings.config import RunConfig

TIMED: Mapping[str, Mapping[str, Any]] = {
    "bptt": {"encoding": "latency", "leak": 0.95},
    "spike-time": {"time_rule": "spike-time", "norm": "none", "readout": "spiking"},
}
SHOWN = {
    "accuracy": ("test accuracy after all timesteps", "fraction", "higher"),
    "spikes_per_inference": ("spikes per image", "count", "lower"),
    "synaptic_ops": ("synaptic operations per image", "count", "lower"),
    "training_memory_bytes": ("training memory, bytes", "count", "lower"),
    "training_ops": ("operations of the training", "count", "lower"),
    "accuracy_first": ("test accuracy at the first output spike", "fraction", "higher"),
    "timesteps_first": ("timesteps until the first output spike", "count", "lower"),
    "spikes_first": ("spikes until then", "count", "lower"),
}


def timed_and_tested(config: RunConfig, place: Place) -> Values:
    """Test metrics after all timesteps, and of a network of first spikes at its first answer."""
    evaluator = evaluator_of(config, place)
    values = dict(evaluator.point(sampled_setting(config, 1)).metrics)
    if config.time_rule != "spike-time":
        return values
    early = OperatingSetting(
        timesteps=config.timesteps,
        exit_thresholds=(),
        detector_threshold=0.5,
        time_threshold=first_spike(config, evaluator.trained.network.block(0)),
    )
    metrics = evaluator.point(early).metrics
    return {
        **values,
        "accuracy_first": metrics["accuracy"],
        "timesteps_first": metrics["mean_timesteps"],
        "spikes_first": metrics["spikes_per_inference"],
    }


def spike_time(scale: Scale) -> Claim:
    """Mostafa 2017; Göltz et al. 2021."""
    config = scale.sized(
        RunConfig(
            dataset=scale.dataset,
            architecture="d100",
            head_hidden=0,
            timesteps=8 if scale.quick else 32,
            epochs=1 if scale.quick else 10,
            train_images=500 if scale.quick else 10_000,
            learning_rate=5e-3,
        )
    )
    recalled = Published(value=0.972, label="recalled", of="784-800-10, MNIST")
    runs = tuple(
        Run(name=name, config=config.replace(seed=seed, **changes), measure=timed_and_tested)
        for name, changes in TIMED.items()
        for seed in range(scale.seeds)
    )

    def rows(results: Results) -> list[Row]:
        return [
            Row(
                name=f"{key}_{name}",
                what=f"one hidden layer of 100, {scale.dataset}, {name}: {what}",
                kind=kind,  # type: ignore[arg-type]
                values=results.over_seeds(name, key),
                better=better,  # type: ignore[arg-type]
                published=recalled if (name, key) == ("spike-time", "accuracy") else None,
            )
            for name in TIMED
            for key, (what, kind, better) in SHOWN.items()
            if results.has(name, key) and (name == "spike-time" or not key.endswith("_first"))
        ]

    return Claim(
        name="spike-time",
        title="Exact times of single spikes",
        about="One hidden layer and one spike per pixel: leaky neurons trained by backpropagation "
        "through time, and neurons that fire once, trained by the exact derivatives of their "
        "times. The first output spike is an operating point of the same network.",
        source="Mostafa, arXiv 1606.08165, 2017; Göltz, Kriener and others, arXiv 1912.11443, 2021",
        runs=runs,
        rows=rows,
        deviations=(
            f"T = {config.timesteps}, {sizes(config)}; 100 hidden neurons",
            "times on a clock, rounded up in training as at inference",
            "Adam with a cosine course; a penalty for neurons that cannot fire, and a time after "
            "the end for silent outputs",
        ),
    )
