"""Processor time of the longest proposal after 10, 100 and 1,000 trials, for each sampler.

A space of six units and a learning rate, two objectives, histories of random networks with
made-up metrics.
"""

import random
import time
from collections.abc import Sequence

from benchmarks.grow import UNITS
from benchmarks.report import Figure, Report, arguments
from search.samplers.sampler import make_sampler
from search.study.methods import SAMPLERS
from search.study.space import RandomSuggest
from search.study.study import Study, study_from_toml
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import METRICS, OperatingPoint

LENGTHS, QUICK_LENGTHS = (10, 100, 1_000), (10,)
AIM_S = 5.0  # of any sampler after any number of trials
ASKS = 5  # some of sampler grow are TPE's
STUDY = """
name = "asks"
objectives = ["accuracy", "synaptic_ops"]
[run]
dataset = "digits"
[search]
sampler = "{sampler}"
[space]
learning_rate = {{ low = 1e-3, high = 1e-1, log = true }}
"""


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__ or "").parse_args()
    lengths = QUICK_LENGTHS if options.quick else LENGTHS
    report = Report("ask_cost", against=("optuna",), setting={"trials": lengths})
    for sampler in SAMPLERS:
        study = study_from_toml(STUDY.format(sampler=sampler) + UNITS)
        for length in lengths:
            seconds = ask_s(study, history(study, length))
            report.line(f"{sampler:<8} after {length:>5} trials: {seconds:.3f} s")
            name = f"ask_s_{sampler}_{length}"
            report.add(Figure(name=name, value=seconds, unit="s", better="lower", aim=AIM_S))
    report.show(as_json=options.json)


def ask_s(study: Study, trials: Sequence[Trial]) -> float:
    """Return the processor seconds of the longest of ASKS proposals with these trials."""
    sampler = make_sampler(study, trials)
    sampler.ask(len(trials))  # imports and compiles
    spent = []
    for number in range(len(trials) + 1, len(trials) + 1 + ASKS):
        begun = time.process_time()
        sampler.ask(number)
        spent.append(time.process_time() - begun)
    return max(spent)


def history(study: Study, length: int) -> list[Trial]:
    """Return complete trials of random networks."""
    suggest, draws = RandomSuggest(0), random.Random(0)
    trials = []
    for number in range(length):
        accuracy = draws.random()
        metrics = dict.fromkeys(METRICS, 1.0)
        metrics |= {"accuracy": accuracy, "synaptic_ops": 1e4 * accuracy**2 * draws.random()}
        point = OperatingPoint(
            timesteps=4,
            exit_thresholds=(),
            detector_threshold=0.5,
            blocks=1,
            metrics=metrics,
            is_sampled=True,
        )
        params = study.space.sample(suggest)
        trials.append(Trial(number=number, params=params, state=TrialState.COMPLETE, sampled=point))
    return trials


if __name__ == "__main__":
    main()
