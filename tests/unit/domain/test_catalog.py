"""The catalog: built-in kinds, a service's own kinds, and what follows from a kind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailctl.domain.catalog import (
    BUILT_IN_CATALOG,
    BUILT_IN_KINDS,
    DELIVER_TASK,
    GENERIC,
    GENERIC_TASK,
    NEW_IP,
    RESET,
    TASK_NAMES,
    WELCOME,
    Catalog,
    Kind,
    Link,
    effective_kind,
    is_security_template,
    required_variables,
)
from mailctl.errors import ConfigurationError, InvalidInput

INVOICE = Kind(
    name="invoice",
    subject="Invoice {number} of {project_name}",
    template="invoice",
    lifetime=timedelta(days=3),
    variables=("number",),
    links=(Link(variable="pay_url", path="/pay", purpose="pay", lifetime=timedelta(hours=2)),),
)


def test_the_tasks_of_the_wire_are_fixed() -> None:
    """Other programs publish and consume them by these names."""
    assert {
        "send_email_task",
        "send_welcome_email_task",
        "send_password_reset_email_task",
        "send_verification_email_task",
        "send_new_ip_notification_task",
    } == TASK_NAMES


def test_own_kinds_are_loaded_once_and_only_if_needed() -> None:
    """Sending a built-in kind does not import the service's code."""
    calls = []
    catalog = Catalog(lambda: calls.append(1) or (INVOICE,))  # type: ignore[func-returns-value]
    assert catalog.get("welcome") is WELCOME
    assert calls == []
    assert catalog.get("invoice") is catalog.find("invoice") is INVOICE
    assert list(catalog.kinds) == [*BUILT_IN_KINDS, "invoice"]
    assert calls == [1]


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """A caller made a mistake; for a recorded email, the configuration has changed."""
    assert BUILT_IN_CATALOG.find("nope") is None
    with pytest.raises(InvalidInput, match="There is no kind 'nope'") as caught:
        BUILT_IN_CATALOG.get("nope")
    assert "welcome" in caught.value.fix
    with pytest.raises(ConfigurationError, match="no kind 'nope'"):
        BUILT_IN_CATALOG.get_recorded("nope")


def test_a_generic_email_with_a_security_template_is_of_its_kind() -> None:
    """It has the limits and the lifetime of that kind."""
    assert effective_kind(GENERIC, "reset") is RESET
    assert effective_kind(GENERIC, "news") is GENERIC
    assert effective_kind(INVOICE, "reset") is INVOICE


@pytest.mark.parametrize(
    ("template", "is_security"),
    [("reset", True), ("new-ip", True), ("welcome", False), (None, False), (7, False)],
)
def test_security_templates_have_links_that_grant_access(template: object, is_security: bool) -> None:
    """Whatever the type of the name."""
    assert is_security_template(template) is is_security


def test_links_and_declared_variables_are_required() -> None:
    """The welcome template also needs its button."""
    assert required_variables(INVOICE, "invoice") == {"number", "pay_url"}
    assert required_variables(NEW_IP, "new-ip") == {"ip_address", "whitelist_url", "blacklist_url"}
    assert required_variables(WELCOME, "welcome") == {"action_url"}


def test_links_of_a_template_are_declared_by_own_kinds() -> None:
    """Those of built-in templates need no loading of own kinds."""
    assert Catalog(lambda: (INVOICE,)).link_variables("invoice") == {"pay_url"}
    assert Catalog(lambda: 1 / 0).link_variables("reset") == frozenset()  # type: ignore[arg-type, return-value]


def test_workers_without_the_log_get_own_kinds_as_generic_emails() -> None:
    """They do not know the service's own kinds."""
    assert (INVOICE.task, INVOICE.full_task) == (DELIVER_TASK, GENERIC_TASK)
    assert RESET.full_task == RESET.task


def test_a_subject_prints_variables() -> None:
    """One that is missing or does not fit the format is refused."""
    assert INVOICE.subject_variables == {"number", "project_name"}
    assert INVOICE.subject_line("Acme", {"number": 7}) == "Invoice 7 of Acme"
    with pytest.raises(InvalidInput, match="cannot be formatted"):
        INVOICE.subject_line("Acme", {})
