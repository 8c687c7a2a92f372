"""Checks of the delivery log on SQLite: file, schema, permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from mailctl.checks.delivery_log import check_log, is_log_file_missing
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, execute, run_to_end

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding


def check(settings: Settings) -> dict[str, Finding]:
    """Return the findings by their names."""
    found, engine = run_to_end(check_log(settings, offline=True))
    if engine is not None:
        engine.dispose()
    return found


def create_log(settings: Settings) -> None:
    """Create the delivery log of these settings."""
    Runtime(settings).close()


def settings_with_log_at(path: Path) -> Settings:
    """Return settings whose log is outside of MAILCTL_HOME."""
    return Settings(mailctl_database_url=SecretStr(f"sqlite:///{path}"))


def test_a_missing_log_is_created_later(tmp_path: Path) -> None:
    """The check creates nothing."""
    finding = check(Settings())["database"]
    assert finding.status is OK
    assert finding.detail.endswith("does not exist yet; the first email or worker creates it")
    assert is_log_file_missing(Settings())
    assert list(tmp_path.iterdir()) == []


def test_in_production_a_missing_log_may_be_a_wrong_address(tmp_path: Path) -> None:
    """The fix names logs nearby."""
    create_log(Settings(mailctl_home=tmp_path / "shop" / ".mailctl"))
    finding = check(Settings(debug=False))["database"]
    assert (finding.status, "correct MAILCTL_HOME" in finding.fix) == (WARN, True)


def test_a_log_that_cannot_be_created_is_a_failure(tmp_path: Path) -> None:
    """Before the first email finds out."""
    (tmp_path / "file").write_text("")
    finding = check(Settings(mailctl_home=tmp_path / "file" / "home"))["database"]
    assert finding.status is FAIL
    assert "MAILCTL_HOME" in finding.fix


def test_an_existing_log_is_reported() -> None:
    """With its schema and emails; its permissions are not mentioned if they are right."""
    create_log(Settings())
    found = check(Settings())
    assert found["database"].status is OK
    assert found["schema"].detail.endswith("is current")
    assert found["emails"].detail == "none yet"
    assert "permissions" not in found


def test_a_log_of_another_version_is_a_failure(tmp_path: Path) -> None:
    """The check does not upgrade it."""
    create_log(Settings())
    execute(tmp_path / ".mailctl" / "mailctl.db", "UPDATE mailctl_version SET version_num = '9999'")
    found = check(Settings())
    assert found["schema"].status is FAIL
    assert "9999" in found["schema"].detail
    assert "emails" not in found


def test_an_empty_file_gets_its_tables_later(tmp_path: Path) -> None:
    """The check creates none."""
    (tmp_path / "log.db").touch(mode=0o600)
    found = check(settings_with_log_at(tmp_path / "log.db"))
    assert "creates it" in found["schema"].detail
    assert execute(tmp_path / "log.db", "SELECT name FROM sqlite_master") == []


def test_a_file_that_is_no_database_is_a_failure(tmp_path: Path) -> None:
    """With the message of the database."""
    (tmp_path / "log.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    finding = check(settings_with_log_at(tmp_path / "log.db"))["database"]
    assert finding.status is FAIL
    assert "not a database" in finding.detail


def test_an_open_circuit_is_a_failure() -> None:
    """With the reason, as a sentence."""
    settings = Settings(email_enabled=True, email_host="mail.example.org")
    parts = Runtime(settings)
    assert parts.circuits is not None
    for _ in range(3):
        parts.circuits.record_failure("at connect: connection refused")
    parts.close()
    finding = check(settings)["mail server"]
    assert finding.status is FAIL
    assert finding.detail.startswith("The mail server mail.example.org:587")
    assert finding.detail.endswith("connection refused.")


def test_a_log_that_all_users_can_read_is_a_warning(tmp_path: Path) -> None:
    """It has the address of every recipient."""
    create_log(Settings())
    database = tmp_path / ".mailctl" / "mailctl.db"
    database.chmod(0o644)
    finding = check(Settings())["permissions"]
    assert finding.status is WARN
    # SQLite gives the files beside it the same mode.
    assert finding.fix.startswith(f"chmod 600 {database}")


def test_a_home_that_all_users_can_read_is_a_warning(tmp_path: Path) -> None:
    """Captured emails are kept there."""
    (tmp_path / ".mailctl").mkdir(mode=0o755)
    (tmp_path / ".mailctl").chmod(0o755)
    (tmp_path / "log.db").touch(mode=0o600)
    finding = check(settings_with_log_at(tmp_path / "log.db"))["permissions"]
    assert finding.fix == f"chmod 700 {tmp_path / '.mailctl'}"
