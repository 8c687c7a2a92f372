"""Checks of the templates and their links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.checks.templates import check_templates
from mailctl.domain.catalog import BUILT_IN_CATALOG, BUILT_IN_KINDS
from mailctl.errors import MailctlError
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, by_name, production, write_module

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding, FindingStatus


def check(settings: Settings) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_templates(settings, BUILT_IN_CATALOG))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a template of the service that works."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for ending in ("html", "txt"):
        (folder / f"invoice.{ending}").write_text("{{ amount }}")
    return folder


def test_each_kind_is_rendered() -> None:
    """From sample data."""
    found = check(Settings())
    names = {kind.template or "message" for kind in BUILT_IN_KINDS.values()}
    assert [found[name].status for name in names] == [OK] * len(BUILT_IN_KINDS)


def test_templates_of_the_service_are_compiled(folder: Path) -> None:
    """The values of their variables are not known."""
    found = check(Settings(mailctl_templates=folder))
    assert found["MAILCTL_TEMPLATES"].status is OK
    assert found["invoice"].detail == "compiles; its own variables: amount"


def test_a_broken_template_is_named_with_its_line(folder: Path) -> None:
    """The other templates are checked nevertheless."""
    (folder / "invoice.html").write_text("<p>\n{% if %}")
    (folder / "welcome.html").write_text("{{ no_such_variable }}")
    (folder / "welcome.txt").write_text("Hello")
    found = check(Settings(mailctl_templates=folder))
    assert found["invoice"].status is FAIL
    assert found["invoice"].detail.startswith("invoice.html, line 2")
    assert found["welcome"].status is FAIL
    assert "no_such_variable" in found["welcome"].detail
    assert found["reset"].status is OK


def test_a_variable_in_a_branch_that_samples_do_not_take_is_a_failure(folder: Path) -> None:
    """It would be missing for other users."""
    (folder / "welcome.html").write_text("{% if not greeting_name %}{{ nick_name }}{% endif %}")
    (folder / "welcome.txt").write_text("Hello")
    findings = list(check_templates(Settings(mailctl_templates=folder), BUILT_IN_CATALOG))
    failures = [finding for finding in findings if finding.status is FAIL]
    assert [(failure.name, "nick_name" in failure.detail) for failure in failures] == [("welcome", True)]


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        (Settings(mailctl_templates="no-such-folder"), "MAILCTL_TEMPLATES"),
        (Settings(email_from_address="nobody"), "EMAIL_FROM_ADDRESS"),
    ],
)
def test_settings_without_which_nothing_is_rendered_are_errors(settings: Settings, setting: str) -> None:
    """The message names the setting."""
    with pytest.raises(MailctlError, match=setting):
        check(settings)


@pytest.mark.parametrize("url", ["app.example.org", "http://[", "https://h:port", "http://", "x" * 5000])
def test_links_without_a_usable_origin_are_a_failure(url: str) -> None:
    """FRONTEND_URL is their beginning."""
    finding = next(check_templates(Settings(frontend_url=url), BUILT_IN_CATALOG))
    assert (finding.name, finding.status) == ("links", FAIL)


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("def mint(claims): return claims.token\n", OK),
        ("mint = 7\n", FAIL),
        ("def mint(claims): raise KeyError(claims.email)\n", FAIL),
        ("raise RuntimeError('no database')\n", FAIL),
    ],
)
def test_the_minting_function_of_the_service_is_called(
    source: str, status: FindingStatus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The templates are checked without it."""
    module = write_module("shop_links", source, tmp_path, monkeypatch)
    found = check(Settings(mailctl_link_mint=f"{module}:mint"))
    assert found["MAILCTL_LINK_MINT"].status is status
    assert found["reset"].status is OK


def test_the_origin_of_links_is_named_even_if_it_is_refused_elsewhere() -> None:
    """In production, http is no origin for ready-made links, but emails lead there nevertheless."""
    settings = production(frontend_url="http://localhost:3000")
    assert check(settings)["links"].detail == "links lead to http://localhost:3000"
