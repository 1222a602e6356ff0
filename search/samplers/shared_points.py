"""Further operating points of a finished trial that the sampler is told of.

Exit thresholds and timesteps of inference do not change the trained weights, so that one
training has measured every configuration that differs from the sampled one only in these.
The best of them are told to the sampler as if each had been a trial.
"""

from collections.abc import Sequence

from search.front.front import front_of
from search.study.axes import Value
from search.study.space import EXIT_THRESHOLD
from search.study.study import Study
from search.trial.trial import FrontPoint, Params, Trial, TrialState
from snn.settings.config import PER_BLOCK, ConfigError
from snn.settings.measurement import OperatingPoint
from snn.settings.partition import format_partition

MOST = 4  # for each trial


def shared_points(study: Study, trial: Trial, points: Sequence[OperatingPoint]) -> list[Trial]:
    """Return the best operating points of a finished trial that lie in the space, as trials.

    Of `points`, up to MOST that are spread over their front within the constraints.
    """
    if trial.state is not TrialState.COMPLETE or trial.engine_config is None:
        return []
    found = []
    for point in points:
        params = params_of(study, trial, point)
        if params is not None and params != trial.params:
            found.append(FrontPoint(trial=trial.number, params=params, point=point, on_front=False))
    best = front_of(found, study.objectives, study.constraints)
    best.sort(
        key=lambda p: study.metrics[study.objectives[0]].sign * p.point.metrics[study.objectives[0]]
    )
    generation = {k: v for k, v in trial.sampler_state.items() if k == "trial"}
    return [
        Trial(
            number=trial.number,
            params=member.params,
            state=TrialState.COMPLETE,
            sampled=member.point,
            sampler_state=generation,
        )
        for member in _spread(best)
    ]


def params_of(study: Study, trial: Trial, point: OperatingPoint) -> Params | None:
    """Return the configuration of an operating point; None if it is not in the study's space."""
    config, space = trial.engine_config, study.space
    assert config is not None
    given: dict[str, Value] = {
        "partition": format_partition(config.blocks[: point.blocks]),
        "inference_timesteps": point.timesteps,
    }
    known: dict[str, Value] = {
        "partition": config.partition,
        "inference_timesteps": config.inference_timesteps,
    }
    if point.blocks > 1:
        given["detector_threshold"] = point.detector_threshold
        known["detector_threshold"] = config.detector_threshold
    if point.time_threshold != config.time_threshold:
        given["time_threshold"] = point.time_threshold
        known["time_threshold"] = config.time_threshold
    for place, threshold in enumerate(point.exit_thresholds):
        given[f"{EXIT_THRESHOLD}_{place + 1}"] = threshold
        known[f"{EXIT_THRESHOLD}_{place + 1}"] = config.exit_threshold[place]
    names = space.param_names()
    if any(given[name] != known[name] for name in given if name not in names):
        return None
    kept = {n: v for n, v in trial.params.items() if not n.startswith(f"{EXIT_THRESHOLD}_")}
    later = {f"{n}_{k}" for n in PER_BLOCK for k in range(point.blocks + 1, config.exits + 1)}
    kept = {name: value for name, value in kept.items() if name not in later}
    values = {**kept, **{n: v for n, v in given.items() if n in names}}
    params = {name: values[name] for name in names if name in values}
    try:
        space.validate(params)
    except ConfigError:
        return None
    return params


def _spread(points: list[FrontPoint]) -> list[FrontPoint]:
    """Return at most MOST points, evenly spaced, with the first and the last."""
    if len(points) <= MOST:
        return points
    return [points[round(k * (len(points) - 1) / (MOST - 1))] for k in range(MOST)]
