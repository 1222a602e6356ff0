"""An id of each study for its artifacts, the hours of its runs, epochs of interrupted attempts."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("studies", sa.Column("artifacts_id", sa.Text(), nullable=True))
    op.add_column("studies", sa.Column("run_s", sa.Double(), nullable=True))
    zero = sa.text("0")
    column = sa.Column("lost_epochs", sa.BigInteger(), nullable=False, server_default=zero)
    op.add_column("studies", column)
    studies = sa.table("studies", sa.column("id", sa.Integer), sa.column("artifacts_id", sa.Text))
    connection = op.get_bind()
    for (id_,) in connection.execute(sa.select(studies.c.id)).all():
        change = studies.update().where(studies.c.id == id_)
        connection.execute(change.values(artifacts_id=secrets.token_hex(4)))
