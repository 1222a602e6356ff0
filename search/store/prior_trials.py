"""Prior trials in the store: external results for the sampler, separate from the trials."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from search.store.rows import kept
from search.store.schema import PriorTrialRow
from search.store.statements import insert_into
from search.study.prior_trials import sampled
from search.trial.trial import Trial, TrialState
from snn.settings.config import current_names


def prior_trials_of(connection: Connection, study_id: int) -> list[Trial]:
    """Return all prior trials of a study, oldest first."""
    query = select(PriorTrialRow.__table__).where(PriorTrialRow.study_id == study_id)
    rows = connection.execute(query.order_by(PriorTrialRow.id)).all()
    return [
        Trial(
            number=row.number,
            params=current_names(row.params),
            state=TrialState(row.state),
            sampled=sampled(row.metrics) if row.metrics is not None else None,
            constraint_violation=row.constraint_violation or 0.0,
        )
        for row in rows
    ]


def prior_trial_sources_of(connection: Connection, study_id: int) -> dict[str, int]:
    """Return the number of prior trials of a study by source."""
    query = select(PriorTrialRow.source, func.count()).where(PriorTrialRow.study_id == study_id)
    grouped = query.group_by(PriorTrialRow.source).order_by(func.min(PriorTrialRow.id))
    return {source: count for source, count in connection.execute(grouped)}  # noqa: C416


class PriorTrialChanges(NamedTuple):
    """Numbers of prior trials of one source."""

    new: int
    changed: int
    removed: int


def keep_prior_trials(
    connection: Connection,
    study_id: int,
    source: str,
    trials: Sequence[Trial],
    now: datetime.datetime,
) -> PriorTrialChanges:
    """Let the prior trials of `source` be `trials`: add, change and remove rows by number.

    Rows that stay keep their order, by which the notes of samplers name them.
    """
    of_source = (PriorTrialRow.study_id == study_id, PriorTrialRow.source == source)
    columns = ("state", "params", "metrics", "constraint_violation")
    query = select(PriorTrialRow.__table__).where(*of_source)
    known = {row.number: row for row in connection.execute(query)}
    new, changed = [], 0
    for trial in trials:
        values = {
            "state": trial.state.value,
            "params": dict(trial.params),
            "metrics": _finite(trial.sampled.metrics) if trial.sampled else None,
            "constraint_violation": kept(trial.constraint_violation),
        }
        row = known.pop(trial.number, None)
        values["imported_at"] = now
        if row is None:
            new.append({"study_id": study_id, "source": source, "number": trial.number, **values})
        elif any(getattr(row, name) != values[name] for name in columns):
            change = update(PriorTrialRow).where(PriorTrialRow.id == row.id)
            connection.execute(change.values(values))
            changed += 1
    if new:
        connection.execute(insert_into(PriorTrialRow), new)
    for row in known.values():
        connection.execute(delete(PriorTrialRow).where(PriorTrialRow.id == row.id))
    return PriorTrialChanges(new=len(new), changed=changed, removed=len(known))


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the finite metrics; JSON has no NaN or infinity."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
