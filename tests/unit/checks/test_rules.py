"""Checks of the rules: recipient policy, rate limits, custom kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.rules import check_rules
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, run_to_end, write_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_CATALOG = (
    "from datetime import timedelta\n"
    "from mailctl.domain.catalog import Kind\n"
    "KINDS = [Kind(name='invoice', subject='Invoice', template='invoice', lifetime=timedelta(days=1))]\n"
)


def test_without_rules_everything_is_allowed() -> None:
    """There are no custom kinds to report."""
    found, catalog = run_to_end(check_rules(Settings()))
    assert found["recipients"].detail == "all recipients are allowed"
    assert found["limits"].status is OK
    assert "own kinds" not in found
    assert catalog.kinds.keys() == BUILT_IN_CATALOG.kinds.keys()


def test_custom_kinds_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are in the catalog that the other checks use."""
    module = write_module("shop_kinds", _CATALOG, tmp_path, monkeypatch)
    found, catalog = run_to_end(check_rules(Settings(mailctl_catalog=f"{module}:KINDS")))
    assert (found["own kinds"].status, found["own kinds"].detail) == (OK, "invoice")
    assert "invoice" in catalog.kinds


def test_a_catalog_that_cannot_be_loaded_is_a_failure() -> None:
    """The other checks go on with the built-in kinds."""
    found, catalog = run_to_end(check_rules(Settings(mailctl_catalog="no_such_module:KINDS")))
    assert found["own kinds"].status is FAIL
    assert catalog is BUILT_IN_CATALOG


def test_a_mistake_in_the_mail_servers_is_none_of_the_senders() -> None:
    """The check of the mail server reports it."""
    found, _ = run_to_end(check_rules(Settings(mailctl_servers="no-such-file.toml")))
    assert "senders" not in found


def test_a_limit_for_an_unknown_kind_is_a_warning() -> None:
    """It would never apply."""
    findings = list(check_rules(Settings(mailctl_limit_per_user="welcom=10/h")))
    [warning] = [finding for finding in findings if finding.status is WARN]
    assert (warning.name, "'welcom'" in warning.detail) == ("limits", True)
