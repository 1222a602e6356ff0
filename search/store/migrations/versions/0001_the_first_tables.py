"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# What people ask with SQL; every metric by its name.
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
    points.training_s
FROM operating_points AS points
JOIN trials ON trials.id = points.trial_id
JOIN studies ON studies.id = points.study_id
WHERE points.on_front
"""


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("toml", sa.Text(), nullable=False),
        sa.Column("question_fingerprint", sa.Text(), nullable=False),
        sa.Column("objectives", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("trials_asked", sa.Integer(), nullable=True),
        sa.Column("reference", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("lease_holder", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("name", name="uq_studies_name"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name="fk_events_study_id_studies",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_study_id", "events", ["study_id"])

    op.create_table(
        "hypervolume",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name="fk_hypervolume_study_id_studies",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_hypervolume"),
        sa.UniqueConstraint("study_id", "trial", name="uq_hypervolume_study_id_trial"),
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("config", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("run_fingerprint", sa.Text(), nullable=True),
        sa.Column("training_fingerprint", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("constraint_violation", sa.Double(), nullable=True),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("epochs_total", sa.Integer(), nullable=False),
        sa.Column("reused_trial", sa.Integer(), nullable=True),
        sa.Column("sampler_state", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("training_s", sa.Double(), nullable=True),
        sa.Column("evaluation_s", sa.Double(), nullable=True),
        sa.Column("validation_images", sa.Integer(), nullable=True),
        sa.Column("points_evaluated", sa.Integer(), nullable=True),
        sa.Column("evaluation_wall_s", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name="fk_trials_study_id_studies",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("study_id", "number", name="uq_trials_study_id_number"),
    )
    op.create_index("ix_trials_run_fingerprint", "trials", ["run_fingerprint"])
    op.create_index("ix_trials_training_fingerprint", "trials", ["training_fingerprint"])

    op.create_table(
        "artifacts",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["trials.id"],
            name="fk_artifacts_trial_id_trials",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", name="pk_artifacts"),
    )
    op.create_table(
        "exits",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("exit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=False),
        sa.Column("is_hard", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["trials.id"],
            name="fk_exits_trial_id_trials",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "exit", "label", name="pk_exits"),
    )
    op.create_table(
        "layers",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("neurons", sa.BigInteger(), nullable=False),
        sa.Column("weights", sa.BigInteger(), nullable=False),
        sa.Column("connections", sa.BigInteger(), nullable=False),
        sa.Column("spikes_per_inference", sa.Double(), nullable=True),
        sa.Column("spike_rate", sa.Double(), nullable=True),
        sa.Column("synaptic_ops", sa.Double(), nullable=True),
        sa.Column("macs", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["trials.id"],
            name="fk_layers_trial_id_trials",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "position", name="pk_layers"),
    )
    op.create_table(
        "measurements",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("block", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("epochs_total", sa.Integer(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("train_accuracy", sa.Double(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("connectivity", sa.Double(), nullable=True),
        sa.Column("spike_rate", sa.Double(), nullable=True),
        sa.Column("regrown", sa.BigInteger(), nullable=False),
        sa.Column("training_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("wall_s", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["trials.id"],
            name="fk_measurements_trial_id_trials",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "block", "epoch", name="pk_measurements"),
    )
    op.create_table(
        "operating_points",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("timesteps", sa.Integer(), nullable=False),
        sa.Column("exit_thresholds", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("detector_threshold", sa.Double(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("is_sampled", sa.Boolean(), nullable=False),
        sa.Column("on_front", sa.Boolean(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("synaptic_ops", sa.Double(), nullable=True),
        sa.Column("macs", sa.Double(), nullable=True),
        sa.Column("est_energy_nj", sa.Double(), nullable=True),
        sa.Column("spikes_per_inference", sa.Double(), nullable=True),
        sa.Column("latency_steps", sa.Double(), nullable=True),
        sa.Column("mean_timesteps", sa.Double(), nullable=True),
        sa.Column("mean_blocks", sa.Double(), nullable=True),
        sa.Column("training_memory_bytes", sa.Double(), nullable=True),
        sa.Column("model_bytes", sa.Double(), nullable=True),
        sa.Column("connectivity", sa.Double(), nullable=True),
        sa.Column("parameters", sa.Double(), nullable=True),
        sa.Column("training_s", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name="fk_operating_points_study_id_studies",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["trials.id"],
            name="fk_operating_points_trial_id_trials",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_operating_points"),
    )
    op.create_index("ix_operating_points_front", "operating_points", ["study_id", "on_front"])
    op.create_index("ix_operating_points_trial_id", "operating_points", ["trial_id"])
    op.create_index(
        "uq_operating_points_sampled",
        "operating_points",
        ["trial_id"],
        unique=True,
        sqlite_where=sa.text("is_sampled = 1"),
        postgresql_where=sa.text("is_sampled"),
    )
    op.execute(PARETO_FRONT)
