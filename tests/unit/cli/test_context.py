"""The shared options, before and after the name of a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailctl.cli.context import CliSession, access_mode_of, make_command, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode


def test_options_that_were_not_given_keep_what_was_said_before() -> None:
    """`mailctl --json list` is `mailctl list --json`."""
    session = CliSession()
    session.merge_options({"json": True, "env_file": Path("prod.env")})
    session.merge_options({"json": False, "env_file": None, "app": "shop:app"})
    assert session.output.as_json
    assert session.settings_options == {"app": "shop:app", "env_file": "prod.env"}


def test_every_command_declares_how_it_uses_the_log() -> None:
    """It cannot become a command without."""

    def function(session: CliSession) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match="lacks @uses_log"):
        make_command(function)
    assert access_mode_of(uses_log(AccessMode.READ)(function)) is AccessMode.READ
