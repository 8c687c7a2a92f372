"""Which sender an email has: one of the allow-list, by request, kind or tenant."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.domain.senders import SenderIdentity, Senders, validate_tenant
from mailctl.errors import ConfigurationError, InvalidInput


def identity(name: str, **conditions: Any) -> SenderIdentity:
    return SenderIdentity(
        name=name,
        address=f"{name}@shop.example",
        display_name=name.title(),
        bounce_address="bounces@shop.example",
        **{key: frozenset(values) for key, values in conditions.items()},
    )


SENDERS = Senders(
    identities=(
        identity("default"),
        identity("acme-security", kinds=["reset"], tenants=["acme"]),
        identity("acme", tenants=["acme"]),
        identity("security", kinds=["reset", "new-ip"]),
        identity("press"),
    )
)


@pytest.mark.parametrize(
    ("email", "name"),
    [
        ({"kind": "welcome"}, "default"),
        ({"kind": "reset"}, "security"),
        ({"kind": "reset", "tenant": "acme"}, "acme-security"),
        ({"kind": "welcome", "tenant": "acme"}, "acme"),
        ({"kind": "welcome", "tenant": "other"}, "default"),
        ({"kind": "reset", "tenant": "acme", "requested": "press"}, "press"),
        ({"kind": "reset", "requested": "default"}, "default"),
    ],
)
def test_the_requested_sender_comes_before_the_first_that_fits(email: Any, name: str) -> None:
    """A sender without kinds and tenants is for those who ask for it."""
    assert SENDERS.choose(**email).name == name


def test_only_the_allow_list_can_be_asked_for() -> None:
    """The message names what there is."""
    assert SENDERS.check("press") == "press"
    with pytest.raises(InvalidInput) as raised:
        SENDERS.check("ceo@shop.example")
    assert "default, acme-security, acme, security, press" in raised.value.fix


def test_an_email_whose_sender_is_gone_waits() -> None:
    """It must not go out in another name."""
    with pytest.raises(ConfigurationError, match="The sender old is not in MAILCTL_SENDERS any more"):
        SENDERS.choose(kind="reset", requested="old")


@pytest.mark.parametrize("value", ["", "a b", "x" * 65, "-a", "a\nb", 3, None, "ä"])
def test_a_tenant_is_a_plain_name(value: object) -> None:
    """It becomes part of the log and of headers."""
    with pytest.raises(InvalidInput):
        validate_tenant(value)
