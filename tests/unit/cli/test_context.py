"""The shared options, before and after the name of a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailctl.cli.context import CliSession, access_mode_of, make_command, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ConfigurationError


def test_options_that_were_not_given_keep_what_was_said_before() -> None:
    """`mailctl --json list` is `mailctl list --json`."""
    session = CliSession()
    session.merge_options({"json": True, "env_file": Path("prod.env")})
    session.merge_options({"json": False, "env_file": None, "app": "shop:app"})
    assert session.output.as_json
    assert session.settings_options == {"app": "shop:app", "env_file": "prod.env"}


@pytest.mark.parametrize("app", ["nowhere:app", "nowhere.celery:app", "json", ":app", ".shop:app"])
def test_an_app_that_cannot_exist_is_refused_also_where_none_is_needed(app: str) -> None:
    """An option that is given is never ignored in silence."""
    session = CliSession()
    session.merge_options({"app": app})
    with pytest.raises(ConfigurationError, match=f"^--app {app}"):
        _ = session.settings


def test_the_app_is_not_imported_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it may take seconds."""
    (tmp_path / "slow_shop.py").write_text("raise AssertionError")
    monkeypatch.chdir(tmp_path)
    session = CliSession()
    session.merge_options({"app": "slow_shop:app"})
    assert session.settings.mailctl_app == "slow_shop:app"


def test_every_command_declares_how_it_uses_the_log() -> None:
    """It cannot become a command without."""

    def function(session: CliSession) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="lacks @uses_log"):
        make_command(function)
    assert access_mode_of(uses_log(AccessMode.READ)(function)) is AccessMode.READ
