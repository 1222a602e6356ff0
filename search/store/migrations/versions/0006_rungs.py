"""Rungs: what early stopping measured, and where it stopped a trial."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("trials", sa.Column("stopped_rung", sa.Integer(), nullable=True))
    op.create_table(
        "rungs",
        sa.Column("id", sa.Integer(), primary_key=True),
        _reference("study_id", "studies"),
        _reference("trial_id", "trials"),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("epochs_total", sa.Integer(), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.UniqueConstraint("trial_id", "rung", name="uq_rungs_trial_id_rung"),
    )
    op.create_index("ix_rungs_study_id_rung", "rungs", ["study_id", "rung"])


def _reference(column: str, table: str) -> sa.Column[int]:
    name = f"fk_rungs_{column}_{table}"
    reference = sa.ForeignKey(f"{table}.id", name=name, ondelete="CASCADE")
    return sa.Column(column, sa.Integer(), reference, nullable=False)
