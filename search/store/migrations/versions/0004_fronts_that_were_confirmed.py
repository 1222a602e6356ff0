"""Members of fronts, trained again with other seeds and run on the test images."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

METRICS = (
    "accuracy",
    "synaptic_ops",
    "macs",
    "est_energy_nj",
    "spikes_per_inference",
    "latency_steps",
    "mean_timesteps",
    "mean_blocks",
    "training_memory_bytes",
    "model_bytes",
    "connectivity",
    "parameters",
    "training_s",
)
PARETO_FRONT = """
CREATE VIEW pareto_front AS
SELECT
    studies.name AS study,
    trials.number AS trial,
    points.timesteps,
    points.exit_thresholds,
    points.detector_threshold,
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
    confirmed.accuracy_mean AS test_accuracy,
    confirmed.accuracy_std AS test_accuracy_std,
    confirmed.seeds AS test_seeds
FROM operating_points AS points
JOIN trials ON trials.id = points.trial_id
JOIN studies ON studies.id = points.study_id
LEFT JOIN confirmed ON confirmed.point_id = points.id
WHERE points.on_front
"""


def _keys(table: str) -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(
            [f"{key}_id"],
            [f"{others}.id"],
            name=f"fk_{table}_{key}_id_{others}",
            ondelete="CASCADE",
        )
        for key, others in (("point", "operating_points"), ("study", "studies"))
    ]


def _figure(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=True)


def upgrade() -> None:
    op.create_table(
        "test_runs",
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("training_fingerprint", sa.Text(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        *(_figure(name) for name in METRICS),
        *_keys("test_runs"),
        sa.PrimaryKeyConstraint("point_id", "seed", name="pk_test_runs"),
    )
    op.create_index("ix_test_runs_study_id", "test_runs", ["study_id"])
    op.create_table(
        "confirmed",
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("seeds", sa.Integer(), nullable=False),
        sa.Column("seeds_lost", sa.Integer(), nullable=False),
        *(_figure(f"{name}_{part}") for name in METRICS for part in ("mean", "std")),
        *_keys("confirmed"),
        sa.PrimaryKeyConstraint("point_id", name="pk_confirmed"),
    )
    op.create_index("ix_confirmed_study_id", "confirmed", ["study_id"])
    op.execute("DROP VIEW pareto_front")
    op.execute(PARETO_FRONT)
