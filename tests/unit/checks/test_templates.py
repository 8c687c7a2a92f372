"""Checks of the templates and their links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.checks.templates import check_templates
from mailctl.domain.catalog import BUILT_IN_CATALOG, BUILT_IN_KINDS
from mailctl.domain.catalog_loader import catalog_from_settings
from mailctl.errors import MailctlError
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, by_name

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding


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
    assert found["welcome"].status is WARN
    assert "no_such_variable" in found["welcome"].detail
    assert found["reset"].status is OK


def test_a_variable_in_a_branch_that_samples_do_not_take_is_found(folder: Path) -> None:
    """It would be missing for other users, whose emails would use mailctl's template."""
    (folder / "welcome.html").write_text("{% if not greeting_name %}{{ nick_name }}{% endif %}")
    (folder / "welcome.txt").write_text("Hello")
    findings = list(check_templates(Settings(mailctl_templates=folder), BUILT_IN_CATALOG))
    warnings = [finding for finding in findings if finding.status is not OK]
    assert [(each.name, each.status, "nick_name" in each.detail) for each in warnings] == [
        ("welcome", WARN, True)
    ]


def test_a_folder_of_html_works(folder: Path) -> None:
    """Its subfolders, too; where the plain text comes from is said."""
    (folder / "auth").mkdir()
    (folder / "auth" / "welcome.html").write_text("<p>Hello {{ user.first_name }} {{ nick }}</p>")
    found = check(Settings(mailctl_templates=folder))
    detail = "compiles; its own variables: nick; its plain text is derived from the HTML"
    assert (found["auth/welcome"].status, found["auth/welcome"].detail) == (OK, detail)
    assert not [finding for finding in found.values() if finding.status is not OK]


def test_an_alias_must_stand_for_a_template(folder: Path) -> None:
    """The fix names the templates."""
    settings = Settings(mailctl_templates=folder, mailctl_template_aliases="bill=invoice,news=nope")
    findings = list(check_templates(settings, catalog_from_settings(settings)))
    [wrong] = [finding for finding in findings if finding.status is FAIL]
    assert (wrong.name, "news stands for nope" in wrong.detail) == ("MAILCTL_TEMPLATE_ALIASES", True)
    assert "invoice" in wrong.fix


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


@pytest.mark.parametrize(
    ("endings", "where"), [(("html", "txt"), " lack their link:"), (("html",), " lack their link")]
)
def test_a_template_without_its_link_is_named(folder: Path, endings: tuple[str, ...], where: str) -> None:
    """Such an email is of no use to anybody."""
    for ending in endings:
        (folder / f"reset.{ending}").write_text("Reset your password")
    findings = list(check_templates(Settings(mailctl_templates=folder), BUILT_IN_CATALOG))
    [found] = [each for each in findings if each.status is FAIL]
    assert (found.name, where in found.detail, "reset_url" in found.detail) == ("reset", True, True)
    assert found.fix == "Add {{ reset_url }} to it, then check with: mailctl preview reset"
