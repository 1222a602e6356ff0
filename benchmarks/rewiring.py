"""Asked against achieved sparsity, and what it costs in accuracy.

The 784-800-10 network of Grad R (Chen et al. 2021) on MNIST: T = 4, batch 128,
8 epochs, Adam, validation accuracy on 10,000 held-out training images. Where
there is no MNIST, the handwritten digits that scikit-learn ships with a network
of the same form; the MNIST figures are then left out.
"""

import statistics
from collections.abc import Sequence

from benchmarks.report import Figure, Report, arguments, data_dir
from search.configure import TrialRun
from snn.config import RunConfig
from snn.data import available

ASKED = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.993)


def config_for(dataset: str, *, quick: bool) -> RunConfig:
    """The dense network."""
    if dataset == "mnist":
        return RunConfig(
            dataset="mnist",
            backbone="mlp",
            width=800,
            head_hidden=0,
            norm="none",
            timesteps=4,
            batch_size=128,
            epochs=2 if quick else 8,
            train_images=10_000 if quick else 0,
            validation_fraction=1 / 6,
            learning_rate=1e-3,
        )
    return RunConfig(
        backbone="mlp",
        width=200 if quick else 800,
        head_hidden=0,
        norm="none",
        timesteps=4,
        epochs=5 if quick else 30,
        learning_rate=2e-3,
    )


def run(config: RunConfig) -> tuple[float, float]:
    """Validation accuracy and sparsity that a config ends with."""
    trial = TrialRun(config, data_dir=data_dir(), threads=2)
    for _ in trial:
        pass
    evaluation = trial.outcome.evaluation
    assert evaluation is not None, trial.outcome.reason
    metrics = evaluation.sampled.metrics
    return metrics["accuracy"], 1 - metrics["connectivity"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="seeds to average over (default 1)")
    options = parser.parse_args(argv)
    dataset = "mnist" if available(data_dir())["mnist"] is None else "digits"
    setting = {"dataset": dataset, "quick": options.quick, "seeds": options.seeds}
    report = Report("rewiring", setting=setting)
    config = config_for(dataset, quick=options.quick)
    seeds = range(options.seeds)
    dense = statistics.mean(run(config.replace(seed=seed))[0] for seed in seeds)
    report.line(f"{dataset} dense: accuracy {dense:.4f}")
    gaps, loss = {}, {}
    for asked in ASKED:
        results = [run(config.replace(target_sparsity=asked, seed=seed)) for seed in seeds]
        accuracy = statistics.mean(result[0] for result in results)
        gaps[asked] = max(abs(result[1] - asked) for result in results)
        loss[asked] = 100 * (dense - accuracy)
        report.line(
            f"{dataset} asked {asked:.3f}: reached {results[0][1]:.5f}, accuracy {accuracy:.4f}"
        )
    worst = max(gap for asked, gap in gaps.items() if asked <= 0.98)
    for figure in (
        Figure(name="worst_sparsity_gap_to_98", value=worst, unit="", better="lower", aim=0.003),
        Figure(name="sparsity_gap_at_99.3", value=gaps[0.993], unit="", better="lower", aim=0.002),
    ):
        report.add(figure)
    if dataset == "mnist":
        for percent, aim in ((98, 0.8), (99, 3.5)):
            report.add(
                Figure(
                    name=f"mnist_loss_at_{percent}",
                    value=loss[percent / 100],
                    unit="points",
                    better="lower",
                    aim=aim,
                )
            )
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
