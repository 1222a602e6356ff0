"""Summaries of studies, by a fixed number of queries."""

import functools
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, select

from search.store.points import copies_on_fronts
from search.store.process_identity import holder_name
from search.store.records import StudySummary
from search.store.rows import figure
from search.store.schema import HypervolumeRow, OperatingPointRow, StudyRow, TrialRow
from search.trial.trial import TrialState


def version_of(study: Any) -> str:
    """Return a text that differs after every change of the study."""
    return f"{study.created_at:%Y%m%dT%H%M%S.%f}-{study.revision}"


def summaries_of_studies(
    connection: Connection, is_held: Callable[[Row[Any]], bool]
) -> list[StudySummary]:
    """Return the summaries of all studies by name."""
    newest = select(func.max(HypervolumeRow.id)).group_by(HypervolumeRow.study_id)
    studies = connection.execute(select(StudyRow.__table__).order_by(StudyRow.name)).all()
    states = connection.execute(
        select(
            TrialRow.study_id,
            TrialRow.state,
            func.count(),
            func.sum(TrialRow.epochs_done),
            func.sum(TrialRow.epochs_reused),
        ).group_by(TrialRow.study_id, TrialRow.state)
    ).all()
    points = connection.execute(
        select(OperatingPointRow.study_id, OperatingPointRow.on_front, func.count()).group_by(
            OperatingPointRow.study_id, OperatingPointRow.on_front
        )
    ).all()
    hypervolumes = connection.execute(
        select(HypervolumeRow.study_id, HypervolumeRow.value).where(HypervolumeRow.id.in_(newest))
    ).all()
    copies = copies_on_fronts(connection)
    running = {study.id: is_held(study) for study in studies}
    stopped = connection.execute(
        select(TrialRow.study_id, TrialRow.stopped_rung, func.count())
        .where(TrialRow.stopped_rung.is_not(None))
        .group_by(TrialRow.study_id, TrialRow.stopped_rung)
        .order_by(TrialRow.stopped_rung)
    ).all()
    latest: dict[int, float] = {study: figure(value) for study, value in hypervolumes}
    by_state: dict[int, dict[str, tuple[int, ...]]] = {study.id: {} for study in studies}
    by_front: dict[int, dict[bool, int]] = {study.id: {} for study in studies}
    for id_, state, *sums in states:
        by_state[id_][state] = tuple(sums)
    for id_, on_front, count in points:
        by_front[id_][on_front] = count
    by_rung: dict[int, dict[int, int]] = {}
    for id_, rung, count in stopped:
        by_rung.setdefault(id_, {})[rung or 0] = count
    return [
        _summary(
            study,
            by_state[study.id],
            by_front[study.id],
            copies.get(study.id, 0),
            latest.get(study.id),
            by_rung.get(study.id, {}),
            is_running=running[study.id],
        )
        for study in studies
    ]


def _summary(
    study: Row[Any],
    states: Mapping[str, tuple[int, ...]],
    points: Mapping[bool, int],
    copies: int,
    hypervolume: float | None,
    stopped_at: Mapping[int, int],
    *,
    is_running: bool,
) -> StudySummary:
    """Return the summary of a study.

    `states` has the trials, epochs trained and epochs reused by state; `points` the number of
    operating points on the front and off it, `copies` that of the points of the front that
    equal another one.
    """
    return StudySummary(
        name=study.name,
        version=version_of(study),
        question=study.question,
        objectives=tuple(study.objectives),
        counts={state: states.get(state, (0,))[0] for state in TrialState},
        trials_asked=study.trials_asked,
        epochs_trained=study.lost_epochs + sum(trained for _, trained, _ in states.values()),
        epochs_reused=sum(reused for _, _, reused in states.values()),
        operating_points=sum(points.values()),
        front_size=points.get(True, 0) - copies,
        hypervolume=hypervolume,
        created_at=study.created_at,
        last_change_at=study.changed_at,
        lease_holder=study.lease_holder and holder_name(study.lease_holder),
        is_running=is_running,
        stopped_at=stopped_at,
        epochs_asked=_epochs_asked(study.toml),
    )


@functools.lru_cache(maxsize=4096)
def _epochs_asked(toml: str) -> int | None:
    """Return `budget.epochs` of a study file; None also if it cannot be read."""
    try:
        budget = tomllib.loads(toml).get("budget")
    except tomllib.TOMLDecodeError:
        return None
    found = budget.get("epochs") if isinstance(budget, dict) else None
    return found if isinstance(found, int) else None
