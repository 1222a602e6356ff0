"""Operations of training."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = {
    "operating_points": ("training_ops",),
    "test_runs": ("training_ops",),
    "confirmed": ("training_ops_mean", "training_ops_std"),
}
PARETO_FRONT = """
CREATE VIEW pareto_front AS
SELECT
    studies.name AS study,
    trials.number AS trial,
    points.timesteps,
    points.exit_thresholds,
    points.detector_threshold,
    points.time_threshold,
    points.blocks,
    points.accuracy,
    points.synaptic_ops,
    points.macs,
    points.est_energy_nj,
    points.spikes_per_inference,
    points.latency_steps,
    points.mean_timesteps,
    points.mean_blocks,
    points.training_memory_bytes,
    points.model_bytes,
    points.connectivity,
    points.parameters,
    points.training_s,
    points.latency_ms,
    points.input_events,
    points.training_ops,
    confirmed.accuracy_mean AS test_accuracy,
    confirmed.accuracy_std AS test_accuracy_std,
    confirmed.seeds AS test_seeds
FROM operating_points AS points
JOIN trials ON trials.id = points.trial_id
JOIN studies ON studies.id = points.study_id
LEFT JOIN confirmed ON confirmed.point_id = points.id
WHERE points.on_front
"""


def upgrade() -> None:
    for table, names in COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.Double(), nullable=True))
    op.execute("DROP VIEW pareto_front")
    op.execute(PARETO_FRONT)
