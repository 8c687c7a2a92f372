"""Runs the migrations on the connection that `storage.schema_version` hands over, in its transaction."""

from alembic import context

from mailctl.delivery_log.storage.partial_indices import add_partial_indices
from mailctl.delivery_log.storage.schema_version import VERSION_TABLE
from mailctl.delivery_log.storage.tables import metadata

add_partial_indices()
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
