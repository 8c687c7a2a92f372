"""`init`, `config` and `open`, from the arguments to what they print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime, web
from tests.integration.commands import welcome
from tests.web_server import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl


def test_a_new_host_is_set_up_with_flags(mailctl: Mailctl, tmp_path: Path) -> None:
    """It works at once; a second time the file is kept."""
    file = str(tmp_path / "new.env")
    line = ("init", "--from-address", "noreply@shop.example", "--env-file", file, "--offline")
    assert mailctl(*line).code == 0
    assert (mailctl(*line).code, mailctl(*line, "--force").code) == (4, 0)
    shown = mailctl("config", "show", "EMAIL_FROM_ADDRESS", "--env-file", file, "--json")
    assert json.loads(shown.out)["value"] == "noreply@shop.example"


def test_an_answer_that_is_missing_is_asked_for_by_name(mailctl: Mailctl, tmp_path: Path) -> None:
    """Where there is no terminal to ask on."""
    ran = mailctl("init", "--env-file", str(tmp_path / "new.env"))
    assert (ran.code, "--from-address" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--frontend-url",
            "shop",
            "error: FRONTEND_URL is not an http or https URL. Write it as https://HOST",
        ),
        ("--from-address", "shop", "error: EMAIL_FROM_ADDRESS is not a valid email address"),
    ],
)
def test_an_answer_that_no_email_could_have_is_refused(
    mailctl: Mailctl, tmp_path: Path, option: str, value: str, message: str
) -> None:
    """By the name of the setting, before a file is written."""
    path = tmp_path / "new.env"
    line = ("init", "--env-file", str(path), "--offline", "--from-address", "noreply@shop.example")
    ran = mailctl(*line, option, value)
    assert (ran.code, ran.err[: len(message)], path.exists()) == (2, message, False)


def test_settings_are_shown_with_their_source(mailctl: Mailctl) -> None:
    """All, some, or those that somebody has set; secrets never."""
    everything = mailctl("config").out
    assert "SECRET_KEY" in everything
    assert "default" in everything
    assert "development-only" not in everything
    assert mailctl("config", "show", "EMAIL_HSOT").err.startswith(
        "error: 'EMAIL_HSOT' is not a setting. Did you mean 'EMAIL_HOST'?"
    )


def test_another_profile_has_obstacles(mailctl: Mailctl) -> None:
    """With exit code 1, and a fix for each."""
    ran = mailctl("config", "diff", "--profile", "production")
    assert (ran.code, "memory://" in ran.out, "-> " in ran.out) == (1, True, True)


def test_the_dashboard_opens_at_an_email(mailctl: Mailctl) -> None:
    """If one answers there; the address is printed."""
    email_id = welcome(mailctl)
    with serving(web.create_app(runtime.configured_settings())) as address:
        assert (
            mailctl("open", email_id[:8], "--url", address, "--print").out == f"{address}/emails/{email_id}\n"
        )
        assert mailctl("open", "--url", f"{address}/", "--print").out == f"{address}/overview\n"
        assert mailctl("open", "ffff", "--url", address, "--print").code == 3
    ran = mailctl("open", "--url", address, "--print")
    assert (ran.code, "No dashboard answers" in ran.err) == (5, True)
