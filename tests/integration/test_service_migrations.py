"""A service that keeps the delivery log in its database, and migrates that with Alembic itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from mailctl.checks.delivery_log import check_log
from mailctl.checks.finding import FindingStatus
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.unit.checks.samples import run_to_end

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding

MODELS = """
from sqlalchemy import Column, Integer, MetaData, String, Table

metadata = MetaData()
Table("users", metadata, Column("id", Integer, primary_key=True), Column("email", String(254), index=True))
"""
#: What `alembic init` makes, in short.
ENV = """
from alembic import context
from sqlalchemy import create_engine

from models import metadata

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata{hook})
    with context.begin_transaction():
        context.run_migrations()
"""
HOOK = ", include_object=mailctl.alembic.include_object"
TEMPLATE = """
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
import sqlalchemy as sa
from alembic import op

def upgrade():
    ${upgrades if upgrades else "pass"}
"""


class Service:
    """A service with a migration of its own and the delivery log in one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self.settings = Settings(mailctl_database_url=SecretStr(url))
        migrations = folder / "db" / "migrations"
        (migrations / "versions").mkdir(parents=True)
        (migrations / "script.py.mako").write_text(TEMPLATE)
        (folder / "models.py").write_text(MODELS)
        driver_url = url.replace("postgresql://", "postgresql+psycopg://")
        (folder / "alembic.ini").write_text(
            f"[alembic]\nscript_location = %(here)s/db/migrations\nprepend_sys_path = .\n"
            f"sqlalchemy.url = {driver_url}\n"
        )
        self._env = migrations / "env.py"
        self.use_hook(False)
        self.revise("users")
        self.alembic("upgrade", "head")
        Runtime(self.settings).close()

    def use_hook(self, is_used: bool) -> None:
        """Write the `env.py`."""
        text = ENV.replace("{hook}", HOOK if is_used else "")
        self._env.write_text("import mailctl.alembic\n" + text if is_used else text)

    def revise(self, name: str) -> str:
        """Let Alembic generate a migration, and return it."""
        self.alembic("revision", "--autogenerate", "-m", name)
        [file] = self._folder.glob(f"db/migrations/versions/*_{name}.py")
        return file.read_text()

    def alembic(self, *arguments: str) -> None:
        """Run the program as the service does."""
        command = [sys.executable, "-m", "alembic", *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def finding(self) -> Finding:
        """Return what `check-config` says of it."""
        found, engine = run_to_end(check_log(self.settings, offline=False))
        assert engine is not None
        engine.dispose()
        return found["alembic"]


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """On each database, in the working directory."""
    monkeypatch.chdir(tmp_path)
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/shop.db" if is_sqlite else request.getfixturevalue("postgres_url")
    return Service(tmp_path, url)


def test_autogenerate_leaves_the_delivery_log_alone(service: Service) -> None:
    """Without the hook it drops every table; with it there is nothing to do."""
    assert "op.drop_table('mailctl_emails')" in service.revise("without")
    service.alembic("upgrade", "head")  # the harm that it does
    Runtime(service.settings).close()
    service.use_hook(True)
    assert "mailctl" not in service.revise("with")
    service.alembic("upgrade", "head")
    service.alembic("check")


def test_the_check_names_an_environment_without_the_hook(service: Service) -> None:
    """And is content with one that has it."""
    finding = service.finding()
    assert (finding.status, "drop" in finding.detail) == (FindingStatus.WARN, True)
    assert "include_object=mailctl.alembic.include_object" in finding.fix
    service.use_hook(True)
    assert service.finding().status is FindingStatus.OK
