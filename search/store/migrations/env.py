"""Runs migrations on the connection that `search.store.database` hands over, in its transaction.

A new one: change `search/store/schema.py`, then, with a store at the last revision,

    with Database("sqlite:///store.db").migrating() as config:
        alembic.command.revision(config, "what changes", autogenerate=True, rev_id="0002")

and set `schema.REVISION`. On SQLite a table that changes is copied, and no view
may stand on it meanwhile: drop `pareto_front` first and create it again after.
"""

from typing import Literal

from alembic import context
from sqlalchemy.types import TypeDecorator

from search.store.schema import VERSION_TABLE, Base


def render_item(kind: str, item: object, _: object) -> str | Literal[False]:
    """A migration must not change with `search.store.schema`: its own types as what they become."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


OURS = {VERSION_TABLE, *Base.metadata.tables}

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    render_item=render_item,
    # Other programs' tables may stand in the same database.
    include_name=lambda name, kind, _: kind != "table" or name in OURS,
)
with context.begin_transaction():
    context.run_migrations()
