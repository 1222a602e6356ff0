"""Warm start: trials of earlier studies of the same store become prior trials of a new one.

They are copied before the first trial of the study and do not change afterwards.
"""

import dataclasses
from collections.abc import Mapping

from search.store.store import Store
from search.study.prior_trials import ExternalTrial, PriorTrials, fitting
from search.study.study import Study, StudyError
from search.trial.trial import Trial
from snn.settings.config import Fault, RunConfig, nearest
from snn.settings.setting import counted

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunConfig)}


def check_warm_start(store: Store, study: Study) -> None:
    """Raise StudyError if the study names another one that is not in the store."""
    if not study.search.warm_start:
        return
    known = sorted({summary.name for summary in store.study_summaries()} - {study.name})
    faults = [
        Fault(
            key="search.warm_start",
            message=f"must name studies that {store.url} has, got {name!r}"
            + (nearest(name, known) or f"; known: {', '.join(known) or 'none'}"),
        )
        for name in study.search.warm_start
        if name not in known
    ]
    if faults:
        raise StudyError(study.source, faults)


def take_over(store: Store, study: Study) -> list[str]:
    """Store the prior trials of the named studies; returns a message for each."""
    lines = []
    for name in study.search.warm_start:
        prior = prior_trials_of(study, store, name)
        store.add_prior_trials(study.name, f"study {name}", prior.trials)
        skipped = "; ".join(f"{count} {why}" for why, count in prior.skipped.items())
        line = f"{counted(len(prior.trials), 'trial')} of {name} reported to the sampler"
        lines.append(f"{line}; left out: {skipped}" if skipped else line)
    return lines


def prior_trials_of(study: Study, store: Store, name: str) -> PriorTrials:
    """Return the trials of study `name` that fit the space and the metrics of this study."""
    other = store.stored_study(name).study(store.url)
    is_bound_alike = dict(other.constraints) == dict(study.constraints)
    return fitting(
        study,
        (
            ExternalTrial(
                number=trial.number,
                state=trial.state,
                params=_params(study, trial),
                metrics=trial.sampled.metrics if trial.sampled else {},
                # a violation of other constraints says nothing about these
                violation=trial.constraint_violation if is_bound_alike else 0.0,
            )
            for trial in store.trials(name)
        ),
    )


def _params(study: Study, trial: Trial) -> Mapping[str, object]:
    """Return the params of the trial in this study; values fixed here must be equal."""
    names = study.space.param_names()
    params: dict[str, object] = {
        name: value
        for name, value in trial.params.items()
        if name in names or study.run.get(name, _DEFAULTS.get(name)) != value
    }
    config = {} if trial.config is None else trial.config.to_mapping()
    for name, axis in study.space.axes.items():
        exists = all(params.get(other) in values for other, values in axis.when.items())
        if name in config and name in names and exists:
            params.setdefault(name, config[name])
    return params
