"""Delivery logs as earlier versions of mailctl left them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from mailctl.delivery_log.storage import schema_version
from mailctl.delivery_log.storage.engine import writing

if TYPE_CHECKING:
    from sqlalchemy import Engine

MIGRATIONS = Path(schema_version.__file__).parent / "migrations"


def migrate(engine: Engine, version: str) -> None:
    """Run the migrations from the first on, up to a version."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
