"""Prior trials in the store: external results for the sampler, separate from the trials."""

import datetime
import math
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from search.store.rows import kept
from search.store.schema import PriorTrialRow
from search.store.statements import insert_into
from search.study.prior_trials import sampled
from search.trial.trial import Trial, TrialState


def prior_trials_of(connection: Connection, study_id: int) -> list[Trial]:
    """Return all prior trials of a study, oldest first."""
    query = select(PriorTrialRow.__table__).where(PriorTrialRow.study_id == study_id)
    rows = connection.execute(query.order_by(PriorTrialRow.id)).all()
    return [
        Trial(
            number=row.number,
            params=row.params,
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


def keep_prior_trials(
    connection: Connection,
    study_id: int,
    source: str,
    trials: Sequence[Trial],
    now: datetime.datetime,
) -> int:
    """Store trials of `source` whose number is new; returns how many are new."""
    query = select(PriorTrialRow.number).where(
        PriorTrialRow.study_id == study_id, PriorTrialRow.source == source
    )
    known = set(connection.execute(query).scalars())
    rows = [
        {
            "study_id": study_id,
            "source": source,
            "number": trial.number,
            "state": trial.state.value,
            "params": dict(trial.params),
            "metrics": _finite(trial.sampled.metrics) if trial.sampled else None,
            "constraint_violation": kept(trial.constraint_violation),
            "imported_at": now,
        }
        for trial in trials
        if trial.number not in known
    ]
    if rows:
        connection.execute(insert_into(PriorTrialRow), rows)
    return len(rows)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the finite metrics; JSON has no NaN or infinity."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
