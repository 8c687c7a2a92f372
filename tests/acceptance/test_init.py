"""`mailctl init` on a terminal: it asks for what is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.settings import Settings
from tests.acceptance.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path


def test_a_newcomer_answers_questions(tmp_path: Path) -> None:
    """Enter takes the default; a password is not shown, and the file is ready to be used."""
    with Screen(tmp_path, "init", "--project-name", "Shop", "--offline", columns=100, lines=40) as screen:
        for question, answer in (
            ("Address that emails are sent from", "nobody"),
            ("EMAIL_FROM_ADDRESS is not a valid email address", "noreply@shop.example"),
            ("Address that links in emails lead to", "shop"),
            ("FRONTEND_URL", ""),
            ("Mail server", "mail.shop.example"),
            ("Encryption", "implicit"),
            ("Port of the mail server [465]", "smtps"),
            ("EMAIL_PORT (your answer): must be a whole number", "2465"),
            ("User name for the mail server", "app"),
            ("Password for the mail server", "swordfish-17"),
        ):
            screen.wait_for(question)
            screen.press(f"{answer}\n".encode())
        assert screen.wait_for_end() == 0, screen.text
        assert ".env was written: DEBUG, PROJECT_NAME, FRONTEND_URL, SECRET_KEY" in screen.text
        assert "swordfish-17" not in screen.text
        assert "No worker is alive" not in screen.text  # to start one is the next step
    settings = Settings.load(tmp_path / ".env")
    assert settings.email_from_address == "noreply@shop.example"
    assert settings.frontend_url == "http://localhost:3000"
    assert settings.mail_server == "mail.shop.example:2465"
    assert settings.email_host_user == "app"
    assert settings.email_host_password.get_secret_value() == "swordfish-17"


def test_an_existing_file_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    """Nobody answers eight questions in vain."""
    (tmp_path / ".env").write_text("PROJECT_NAME=Old\n")
    with Screen(tmp_path, "init", "--offline", columns=100, lines=40) as screen:
        assert screen.wait_for_end() == 4, screen.text
        assert ".env exists; nothing was changed." in screen.text
        assert "Address that emails are sent from" not in screen.text
