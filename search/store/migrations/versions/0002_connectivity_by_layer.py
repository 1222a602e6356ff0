"""Connectivity by layer, per epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("measurements", sa.Column("layers", sa.JSON(none_as_null=True), nullable=True))
