"""Epochs of blocks that were taken from the block cache."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    zero = sa.text("0")
    op.add_column(
        "measurements",
        sa.Column("is_reused", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    for table in ("measurements", "trials"):
        column = sa.Column("epochs_reused", sa.Integer(), nullable=False, server_default=zero)
        op.add_column(table, column)
