"""A password is masked in the replies of a mail server."""

from __future__ import annotations

from base64 import b64encode

import pytest

from mailctl.smtp.reply_masking import mask_password


@pytest.mark.parametrize(
    "sent", ["hunter2", "\0app\0hunter2", "app\0app\0hunter2"], ids=["login", "plain", "plain with identity"]
)
def test_a_password_is_masked_as_smtp_carries_it(sent: str) -> None:
    """Some servers repeat the command that they refuse."""
    encoded = b64encode(sent.encode()).decode()
    masked = mask_password(f"cannot decode {encoded}", "hunter2", user="app", also_plain=False)
    assert masked == "cannot decode ***"


def test_a_password_in_clear_is_masked_only_on_request() -> None:
    """It may be an ordinary word, and a short one may be part of any."""
    assert mask_password("no secret", "secret", user="", also_plain=False) == "no secret"
    assert mask_password("no secret", "secret", user="", also_plain=True) == "no ***"
    assert mask_password("no pin", "pin", user="", also_plain=True) == "no pin"
