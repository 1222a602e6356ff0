"""Operating points of the store."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from search.front.merged import merge_equal
from search.store.records import StoredPoint
from search.store.rows import point_of, uncollected
from search.store.schema import TrialRow
from search.store.statements import POINTS, select_points
from snn.settings.config import RunConfig, current_names

IDS_AT_A_TIME = 10_000  # in one query: databases limit its parameters


def parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Divide ids for queries."""
    return (ids[start : start + IDS_AT_A_TIME] for start in range(0, len(ids), IDS_AT_A_TIME))


def points_of(
    connection: Connection, wanted: Mapping[str, Any], *, front_only: bool
) -> list[StoredPoint]:
    """Return operating points; `wanted` has the parameters of `select_points`."""
    query, query_trials = select_points(
        of_trial="of_trial" in wanted, front_only=front_only, of_ids="of_ids" in wanted
    )
    trials = {
        id_: (number, current_names(params), training)
        for id_, number, params, training in connection.execute(query_trials, wanted)
    }
    with uncollected():
        points = [
            StoredPoint(
                id=id_,
                trial=trials[trial_id][0],
                params=trials[trial_id][1],
                training=trials[trial_id][2],
                point=point_of(point),
                on_front=on_front,
            )
            for id_, trial_id, on_front, *point in connection.execute(query, wanted).all()
        ]
    if front_only or wanted.keys() != {"of_study"}:
        points = _named_by_their_blocks(connection, trials, points)
    return sorted(points, key=lambda point: (point.trial, point.id))


def copies_on_fronts(connection: Connection) -> dict[int, int]:
    """Return the number of points on fronts that equal another one, by study; see `merge_equal`.

    Only the fronts that have points with equal counts are read.
    """
    columns = ("study_id", "timesteps", "blocks", "accuracy", "model_bytes")
    query = select(POINTS.c.study_id).where(POINTS.c.on_front.is_(True))
    query = query.group_by(*(POINTS.c[name] for name in columns)).having(func.count() > 1)
    found = {}
    for study_id in connection.execute(query.distinct()).scalars().all():
        front = points_of(connection, {"of_study": study_id}, front_only=True)
        found[study_id] = len(front) - len(merge_equal(front))
    return found


def _named_by_their_blocks(
    connection: Connection, trials: Iterable[int], points: Sequence[StoredPoint]
) -> list[StoredPoint]:
    """Name the training of each point by the blocks that run there.

    The first blocks of a block-local network do not depend on later ones: networks
    with equal first blocks have equal operating points there. `trials` are the ids of their trials.
    """
    query = select(TrialRow.number, TrialRow.config)
    configs = {
        number: RunConfig.from_mapping(config)
        for ids in parts(list(trials))
        for number, config in connection.execute(query.where(TrialRow.id.in_(ids)))
        if config is not None and config.get("space_rule") == "block-local"
    }
    return [
        dataclasses.replace(point, training=config.prefix(blocks).training_fingerprint)
        if (config := configs.get(point.trial)) and (blocks := point.point.blocks) < config.exits
        else point
        for point in points
    ]
