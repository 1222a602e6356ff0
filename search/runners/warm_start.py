"""Warm start: what earlier studies of the same store teach the sampler of a new one.

Their trials become lessons of the study, kept with it before its first trial
and not changed from then on, so that it goes on alike whatever becomes of them.
"""

import dataclasses
from collections.abc import Mapping

from search.store.store import Store
from search.study.prior_trials import ExternalTrial, PriorTrials, fitting
from search.study.study import Study, StudyError, study_from_toml
from search.trial.trial import Trial
from snn.settings.config import Fault, RunConfig, nearest

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunConfig)}


def check_warm_start(store: Store, study: Study) -> None:
    """Raises StudyError where the study names another one that the store does not have."""
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
    """Keep what the named studies teach with the study, which has no trial yet; a line for each."""
    lines = []
    for name in study.search.warm_start:
        lessons = prior_trials_of(study, store, name)
        store.add_prior_trials(study.name, f"study {name}", lessons.trials)
        skipped = "; ".join(f"{count} {why}" for why, count in lessons.skipped.items())
        line = f"{len(lessons.trials)} trials of {name} teach the sampler"
        lines.append(f"{line}; left out: {skipped}" if skipped else line)
    return lines


def prior_trials_of(study: Study, store: Store, name: str) -> PriorTrials:
    """What of the study `name` lies in this one's space and was measured as it needs it."""
    other = study_from_toml(store.stored_study(name).toml, store.url)
    is_bound_alike = dict(other.constraints) == dict(study.constraints)
    return fitting(
        study,
        (
            ExternalTrial(
                number=trial.number,
                state=trial.state,
                params=_params(study, trial),
                metrics=trial.sampled.metrics if trial.sampled else {},
                # what was outside of other constraints may be inside of these
                violation=trial.constraint_violation if is_bound_alike else 0.0,
            )
            for trial in store.trials(name)
        ),
    )


def _params(study: Study, trial: Trial) -> Mapping[str, object]:
    """The params that the trial would have here: what is no axis here must be as it is here."""
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
