"""The recipient policy of an environment."""

from __future__ import annotations

import pytest

from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings


def settings(*, allow: str = "", redirect: str = "") -> Settings:
    """Return settings that say who may get email."""
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
def test_only_listed_recipients_are_allowed(allow: str, address: str, is_allowed: bool) -> None:
    """By address, by domain or by parent domain, in upper or lower case."""
    assert (recipient_policy_from_settings(settings(allow=allow)).refusal_reason(address) == "") is is_allowed


@pytest.mark.parametrize("allow", [",", " ", "example.com", "@", "*.", "@a@b", "zoe@example.com,", "*"])
def test_an_invalid_list_allows_nothing(allow: str) -> None:
    """A typing error must not allow all recipients."""
    with pytest.raises(ConfigurationError, match="nothing is sent"):
        recipient_policy_from_settings(settings(allow=allow))


def test_a_redirect_applies_to_all_email() -> None:
    """The subject names the intended recipient, and no other recipient is allowed."""
    audience = recipient_policy_from_settings(settings(redirect="QA@corp.example"))
    addressed = audience.resolve_destination("zoe@example.com", subject="Hello")
    assert (addressed.to, addressed.subject) == ("QA@corp.example", "[to zoe@example.com] Hello")
    assert addressed.original_recipient == "zoe@example.com"
    assert audience.refusal_reason("zoe@example.com")
    assert audience.refusal_reason("qa@corp.example") == ""
    assert audience.resolve_destination("qa@corp.example", subject="Hello").subject == "Hello"


@pytest.mark.parametrize("redirect", ["qa", "qa@corp.example, qb@corp.example", "@corp.example", " "])
def test_a_redirect_is_one_address(redirect: str) -> None:
    """Other values are errors."""
    with pytest.raises(ConfigurationError, match="MAILCTL_REDIRECT_TO"):
        recipient_policy_from_settings(settings(redirect=redirect))


def test_list_and_redirect_must_agree() -> None:
    """The redirect address must be allowed."""
    assert (
        recipient_policy_from_settings(
            settings(allow="@corp.example", redirect="qa@corp.example")
        ).refusal_reason("qa@corp.example")
        == ""
    )
    with pytest.raises(ConfigurationError, match="does not allow"):
        recipient_policy_from_settings(settings(allow="@corp.example", redirect="qa@other.example"))
