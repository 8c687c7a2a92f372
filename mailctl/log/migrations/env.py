"""Runs the migrations on the connection that `mailctl.log.schema` hands over, in its transaction."""

from alembic import context

from mailctl.log.schema import VERSION_TABLE
from mailctl.log.tables import add_partial_indices, metadata

add_partial_indices()
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
