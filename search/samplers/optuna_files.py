"""Optuna storages: studies written for Optuna and its dashboard, and studies read from there."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection

from search.study.axes import Integer, PlainAxis, Real
from search.study.feedback import FeedbackBuilder, fixed_penalties
from search.study.prior_trials import ExternalTrial, PriorTrialError
from search.study.study import Study
from search.text.requirements import missing
from search.text.urls import masked, masked_words
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import Measurement, Metrics

MARK = "spikefront"  # an attribute of the studies that are written here
_SQLITE = "sqlite:///"
_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}
_THEIRS = {
    optuna.trial.TrialState.COMPLETE: TrialState.COMPLETE,
    optuna.trial.TrialState.PRUNED: TrialState.PRUNED,
    optuna.trial.TrialState.FAIL: TrialState.FAILED,
    optuna.trial.TrialState.RUNNING: TrialState.RUNNING,
    optuna.trial.TrialState.WAITING: TrialState.WAITING,
}
_OLD_CONSTRAINTS = "constraints"  # the key that Optuna Dashboard reads


@dataclass(frozen=True, kw_only=True)
class Address:
    """A study in an Optuna storage: `sqlite:///file.db#name`."""

    url: str
    study: str | None

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read an address from a command line. Raises PriorTrialError for # in a password."""
        url, _, study = text.partition("#")
        if "@" in study and "@" not in url and not url.startswith(_SQLITE):
            raise PriorTrialError(f"{masked(text)}: must have %23 for # in a password")
        return cls(url=url, study=study or None)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return masked(self.url)

    @property
    def source(self) -> str:
        """The address as the store keeps it: the path of an SQLite file is absolute."""
        url = self.shown
        file, mark, query = url.removeprefix(_SQLITE).partition("?")
        if url.startswith(_SQLITE) and file:
            url = f"{_SQLITE}{Path(file).resolve()}{mark}{query}"
        return f"{url}#{self.study}"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A study in an Optuna storage."""

    address: Address
    trials: int
    left_out: int  # unfinished ones


def write_study(
    study: Study,
    trials: Sequence[Trial],
    curves: Mapping[int, Sequence[Measurement]],
    address: Address,
    *,
    force: bool = False,
) -> Written:
    """Write a study's finished trials to a new study of an Optuna storage.

    `force` replaces a study that was written here before. Constraints are stored both for
    Optuna 5 and for its dashboard. Curves are user attributes, and also intermediate
    values if accuracy is the only objective: Optuna has them for one objective only.
    Raises PriorTrialError.
    """
    name = address.study or study.name
    with _storage(address) as storage:
        if name in optuna.study.get_all_study_names(storage):
            _make_room(storage, name, address, force=force)
        target = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[_direction(name, study.metrics) for name in study.objectives],
        )
        target.set_metric_names(list(study.objectives))
        target.set_user_attr(MARK, study.name)
        target.set_user_attr("question", study.question)
        builder = FeedbackBuilder(study=study, reads_pruned=True, penalties=fixed_penalties(study))
        finished = [trial for trial in trials if trial.state.is_finished]
        made = [_frozen(study, builder, trial, curves.get(trial.number, ())) for trial in finished]
        target.add_trials(made)
    return Written(
        address=Address(url=address.url, study=name),
        trials=len(finished),
        left_out=len(trials) - len(finished),
    )


def _make_room(storage: Any, name: str, address: Address, *, force: bool) -> None:
    there = optuna.load_study(study_name=name, storage=storage)
    if MARK not in there.user_attrs:
        raise PriorTrialError(
            f"{address.shown}: has a study {name!r} that was not written here; "
            f"choose another name: {address.shown}#NAME"
        )
    if not force:
        raise PriorTrialError(
            f"{address.shown}: has a study {name!r} already; replace it with --force, or choose "
            f"another name: {address.shown}#NAME"
        )
    optuna.delete_study(study_name=name, storage=storage)


def _frozen(
    study: Study, builder: FeedbackBuilder, trial: Trial, curve: Sequence[Measurement]
) -> optuna.trial.FrozenTrial:
    feedback = builder.feedback(trial)
    dimensions = study.space.dimensions()
    distributions = {
        name: _distribution(dimensions.get(name), value) for name, value in trial.params.items()
    }
    steps: dict[int, float] = {}
    if study.objectives == ("accuracy",):
        steps = {m.epochs_done: m.accuracy for m in curve}
    constraints = dict(feedback.constraints)
    made = optuna.trial.create_trial(
        state=_STATES[feedback.state],
        values=feedback.values,
        params=dict(trial.params),
        distributions=distributions,
        user_attrs=_attributes(trial, curve),
        system_attrs={_OLD_CONSTRAINTS: list(constraints.values())} if constraints else None,
        intermediate_values=steps,
        constraints=constraints,
    )
    if trial.started_at is not None and trial.finished_at is not None:
        # Optuna has local times without a zone
        made.datetime_start = trial.started_at.astimezone().replace(tzinfo=None)
        made.datetime_complete = trial.finished_at.astimezone().replace(tzinfo=None)
    return made


def _attributes(trial: Trial, curve: Sequence[Measurement]) -> dict[str, Any]:
    found: dict[str, Any] = {"trial": trial.number}
    if trial.sampled is not None:
        found |= dict(trial.sampled.metrics)
    if trial.reason:
        found["reason"] = trial.reason
    if trial.config is not None:
        found["run_fingerprint"] = trial.config.fingerprint
    if curve:
        found["curve"] = [
            {
                "epoch": m.epochs_done,
                "block": m.block,
                "loss": m.loss,
                "train_accuracy": m.train_accuracy,
                "accuracy": m.accuracy,
            }
            for m in curve
        ]
    return found


def _distribution(axis: PlainAxis | None, value: Any) -> BaseDistribution:
    """Return the distribution of a parameter, in the values of params."""
    if isinstance(axis, Integer):
        return IntDistribution(axis.low, axis.last, log=axis.log, step=axis.step)
    if isinstance(axis, Real):
        return FloatDistribution(axis.low, axis.last, log=axis.log, step=axis.step)
    if axis is None:  # fixed
        return CategoricalDistribution([value])
    return CategoricalDistribution(list(axis.values))


def read_study(address: Address, study: Study) -> tuple[Address, list[ExternalTrial]]:
    """Read the trials of a study in an Optuna storage; return its address, too.

    Raises PriorTrialError.
    """
    with _storage(address, is_read=True) as storage:
        names = sorted(optuna.study.get_all_study_names(storage))
        name = _named(address, names)
        theirs = optuna.load_study(study_name=name, storage=storage)
        order = _order(study, theirs, address)
        found = [_earlier(study, trial, order) for trial in theirs.get_trials(deepcopy=False)]
    return Address(url=address.url, study=name), found


def _named(address: Address, names: Sequence[str]) -> str:
    if address.study in names:
        return str(address.study)
    known = ", ".join(names) or "none"
    if address.study is None and len(names) == 1:
        return names[0]
    asked = "holds several studies" if address.study is None else f"no study {address.study!r}"
    raise PriorTrialError(f"{address.shown}: {asked} ({known}); name one: {address.shown}#NAME")


def _order(study: Study, theirs: optuna.Study, address: Address) -> list[str]:
    """Return the metric of each value: by its name, otherwise by position."""
    names = list(theirs.metric_names or study.objectives)
    if len(names) != len(theirs.directions):
        raise PriorTrialError(
            f"{address.shown}: has {len(theirs.directions)} objectives without names, "
            f"{study.name} has {len(study.objectives)}"
        )
    for name, direction in zip(names, theirs.directions, strict=True):
        if name not in study.metrics:
            continue
        wanted = _direction(name, study.metrics)
        if direction != wanted:
            raise PriorTrialError(
                f"{address.shown}: must {wanted.name.lower()} {name}, as this study does, "
                f"got {direction.name.lower()}"
            )
    return names


def _direction(metric: str, metrics: Metrics) -> StudyDirection:
    is_higher = metrics[metric].better == "higher"
    return StudyDirection.MAXIMIZE if is_higher else StudyDirection.MINIMIZE


def _earlier(study: Study, trial: optuna.trial.FrozenTrial, order: Sequence[str]) -> ExternalTrial:
    values = trial.values if trial.values is not None else ()
    metrics = {n: float(v) for n, v in zip(order, values, strict=False) if n in study.metrics}
    attributes = {n: v for n, v in trial.user_attrs.items() if n in study.metrics}
    numbers = {
        n: float(v)
        for n, v in attributes.items()
        if isinstance(v, int | float) and not isinstance(v, bool)
    }
    return ExternalTrial(
        number=trial.number,
        state=_THEIRS[trial.state],
        params=dict(trial.params),
        metrics={**numbers, **metrics},
        violation=max([0.0, *trial.constraints.values()]),
    )


@contextlib.contextmanager
def _storage(address: Address, *, is_read: bool = False) -> Iterator[optuna.storages.BaseStorage]:
    """Open a storage without Optuna's log and warnings; errors become PriorTrialError.

    With `is_read`, a missing file is not created.
    """
    file = address.url.removeprefix("sqlite:///")
    if is_read and file != address.url and not Path(file.partition("?")[0]).is_file():
        raise PriorTrialError(f"{address.shown}: no such file {file}")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            storage = optuna.storages.RDBStorage(address.url, skip_table_creation=is_read)
            yield storage
            storage.remove_session()
    except PriorTrialError:
        raise
    except Exception as error:  # of sqlalchemy, of a driver that is missing, of Optuna
        if (said := missing(error)) is not None:
            raise PriorTrialError(f"{address.shown}: {said}") from None
        said = str(error).replace(address.url, address.shown)
        reason = masked_words((said.splitlines() or [""])[0])
        raise PriorTrialError(
            f"{address.shown}: must be an Optuna storage like sqlite:///optuna.db, got "
            f"{type(error).__name__}: {reason}"
        ) from None
    finally:
        optuna.logging.set_verbosity(verbosity)
