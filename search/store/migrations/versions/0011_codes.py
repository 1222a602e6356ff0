"""Bits of codes, and what they leave open."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

NAMES = ("code_bits", "distortion")
COLUMNS = {
    "operating_points": NAMES,
    "test_runs": NAMES,
    "confirmed": tuple(f"{name}_{part}" for name in NAMES for part in ("mean", "std")),
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
    points.code_bits,
    points.distortion,
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
