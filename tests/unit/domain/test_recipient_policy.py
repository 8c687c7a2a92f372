"""Whom an environment may mail."""

from __future__ import annotations

import pytest

from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings


def settings(*, allow: str = "", redirect: str = "") -> Settings:
    """Return settings that say whom to mail."""
    return Settings(mailctl_recipients_allow=allow, mailctl_redirect_to=redirect)


@pytest.mark.parametrize(
    ("allow", "address", "is_allowed"),
    [
        ("", "zoe@example.com", True),
        ("zoe@example.com", "Zoe@example.com", True),
        ("zoe@example.com", "max@example.com", False),
        ("@example.com", "max@example.com", True),
        ("@example.com", "max@sub.example.com", False),
        ("@example.com", "max@notexample.com", False),
        ("*.example.com", "max@sub.example.com", True),
        ("*.example.com", "max@example.com", False),
        ("*.example.com", "max@evil-example.com", False),
        ("zoe@example.com, @corp.example", "qa@corp.example", True),
        ("@Bücher.example", "qa@xn--bcher-kva.example", True),
        ("zoe@example.com", "zoe@example.com.evil.example", False),
    ],
)
def test_only_what_is_listed_is_allowed(allow: str, address: str, is_allowed: bool) -> None:
    """By address, by domain, or below a domain; in any case of letters."""
    assert (recipient_policy_from_settings(settings(allow=allow)).refusal_reason(address) == "") is is_allowed


@pytest.mark.parametrize("allow", [",", " ", "example.com", "@", "*.", "@a@b", "zoe@example.com,", "*"])
def test_a_list_that_nobody_understands_allows_nothing(allow: str) -> None:
    """The setting is an error: a slip of the pen must not open it to all."""
    with pytest.raises(ConfigurationError, match="nothing is sent"):
        recipient_policy_from_settings(settings(allow=allow))


def test_a_redirect_takes_everything() -> None:
    """The subject says whom it was meant for; nobody else passes the last look."""
    audience = recipient_policy_from_settings(settings(redirect="QA@corp.example"))
    addressed = audience.resolve_destination("zoe@example.com", subject="Hello")
    assert (addressed.to, addressed.subject) == ("QA@corp.example", "[to zoe@example.com] Hello")
    assert addressed.original_recipient == "zoe@example.com"
    assert audience.refusal_reason("zoe@example.com")
    assert audience.refusal_reason("qa@corp.example") == ""
    assert audience.resolve_destination("qa@corp.example", subject="Hello").subject == "Hello"


@pytest.mark.parametrize("redirect", ["qa", "qa@corp.example, qb@corp.example", "@corp.example", " "])
def test_a_redirect_is_one_address(redirect: str) -> None:
    """Anything else is an error."""
    with pytest.raises(ConfigurationError, match="MAILCTL_REDIRECT_TO"):
        recipient_policy_from_settings(settings(redirect=redirect))


def test_both_must_agree() -> None:
    """The address that gets all mail is one that may be mailed."""
    assert (
        recipient_policy_from_settings(
            settings(allow="@corp.example", redirect="qa@corp.example")
        ).refusal_reason("qa@corp.example")
        == ""
    )
    with pytest.raises(ConfigurationError, match="does not allow"):
        recipient_policy_from_settings(settings(allow="@corp.example", redirect="qa@other.example"))
