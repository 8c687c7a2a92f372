"""Placeholders: settings that still have an example value."""

from __future__ import annotations

import pytest

from mailctl.checks.placeholders import find_placeholders
from mailctl.settings import Settings
from tests.unit.checks.samples import production


@pytest.mark.parametrize(
    "domain",
    ["example.com", "mail.example.org", "example.net", "shop.example", "a.invalid", "b.test", "localhost"],
)
def test_a_sender_at_a_reserved_domain_is_a_placeholder(domain: str) -> None:
    """Mail servers reject such senders."""
    [found] = find_placeholders(production(email_from_address=f"noreply@{domain}"))
    assert (found.setting, bool(found.fix)) == ("EMAIL_FROM_ADDRESS", True)


@pytest.mark.parametrize("domain", ["example.com.au", "myexample.com", "testing.org", "shop.internal"])
def test_other_domains_only_look_like_it(domain: str) -> None:
    """The whole name counts."""
    assert list(find_placeholders(production(email_from_address=f"noreply@{domain}"))) == []


def test_the_default_project_name_is_a_placeholder() -> None:
    """Every reader of an email would see it."""
    [found] = find_placeholders(production(project_name=Settings().project_name))
    assert (found.setting, "'Example'" in found.reason) == ("PROJECT_NAME", True)


def test_development_may_run_on_placeholders() -> None:
    """Its defaults are such."""
    assert list(find_placeholders(Settings())) == []
