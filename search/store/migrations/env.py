"""Run migrations on the connection and in the transaction of `search.store.database`.

To add one, change `search/store/schema.py`, then, with a store at the last revision,

    with Database("sqlite:///store.db").migrating() as config:
        alembic.command.revision(config, "what changes", autogenerate=True, rev_id="0002")

and set `schema.REVISION`. On SQLite a changed table is copied, which fails
while a view uses it: drop the view `pareto_front` before, and create it again after.
"""

from typing import Literal

from alembic import context
from sqlalchemy.types import TypeDecorator

from search.store.schema import VERSION_TABLE, Base


def render_item(kind: str, item: object, _: object) -> str | Literal[False]:
    """Render own column types as their SQL types: migrations must not depend on the schema."""
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
    # Other programs may have tables in the same database.
    include_name=lambda name, kind, _: kind != "table" or name in OURS,
)
with context.begin_transaction():
    context.run_migrations()
