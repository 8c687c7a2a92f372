"""A service registers its own kinds of email."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS, Kind, Link
from mailctl.domain.catalog_loader import catalog_from_settings
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.samples import sample_content
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Register = Callable[..., Settings]

INVOICE = Kind(
    name="invoice",
    subject="Invoice {number} from {project_name}",
    template="invoice",
    lifetime=timedelta(days=3),
    variables=("number", "amount"),
    optional=("note",),
)
LINK = Link(variable="invoice_url", path="/invoices", purpose="invoice", lifetime=timedelta(days=30))
USER = make_user(email="zoe@example.com")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Puts kinds where MAILCTL_CATALOG finds them; returns the settings."""

    def put(*kinds: Any, value: Any = None) -> Settings:
        module = ModuleType("a_shop_emails")
        vars(module)["KINDS"] = value if value is not None else kinds
        monkeypatch.setitem(sys.modules, "a_shop_emails", module)
        return Settings(mailctl_catalog="a_shop_emails")

    return put


def test_own_kinds_are_added_to_the_built_in_ones(register: Register) -> None:
    """They are found by name."""
    catalog = catalog_from_settings(register(INVOICE))
    assert list(catalog.kinds) == [*BUILT_IN_KINDS, "invoice"]
    assert catalog.get("invoice") is INVOICE


@pytest.mark.parametrize("value", [INVOICE, [INVOICE], {"invoice": INVOICE}])
def test_kinds_come_alone_in_a_list_or_in_a_mapping(register: Register, value: object) -> None:
    """All forms are equivalent."""
    assert catalog_from_settings(register(value=value)).get("invoice") is INVOICE


def test_a_package_registers_kinds_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are available once it is installed."""
    (tmp_path / "a_packaged_shop.py").write_text(
        "from datetime import timedelta\n"
        "from mailctl.domain.catalog import Kind\n"
        "KIND = Kind(name='receipt', subject='Hi', template='receipt', lifetime=timedelta(days=1))\n"
    )
    installed = tmp_path / "a_packaged_shop-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: a-packaged-shop\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[mailctl.kinds]\nreceipt = a_packaged_shop:KIND\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert catalog_from_settings(Settings()).get("receipt").subject == "Hi"


def test_built_in_kinds_need_no_loading() -> None:
    """Code of the service is not imported for them."""
    catalog = catalog_from_settings(Settings(mailctl_catalog="there.is.no.such.module"))
    assert catalog.get("reset").name == "reset"
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        catalog.get("invoice")


def test_an_unknown_kind_is_an_error() -> None:
    """Of the caller, or of the settings if the email is in the log."""
    catalog = catalog_from_settings(Settings())
    with pytest.raises(InvalidInput, match="invoice") as caught:
        catalog.get("invoice")
    assert "welcome" in caught.value.fix
    with pytest.raises(ConfigurationError, match="invoice"):
        catalog.get_recorded("invoice")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "reset"}, "built-in kind of this name"),
        ({"name": "In Voice"}, "its name must consist of"),
        ({"task": "send_email_task"}, "only built-in kinds have a task"),
        ({"subject": None}, "no subject or no template"),
        ({"subject": "Invoice {nummer}"}, "prints nummer"),
        ({"subject": "Invoice {number.real}"}, "prints number.real"),
        ({"subject": "Invoice {"}, "Single '{'"),
        ({"template": "../invoice"}, "is not a template name"),
        ({"lifetime": timedelta(0)}, "must be positive"),
        ({"variables": "number"}, "write"),
        ({"variables": ("number", "amount", "recipient_email")}, "every email has"),
        ({"samples": {"amuont": 1}}, "a sample for amuont"),
        ({"queue": "a,b"}, "not a valid queue name"),
        ({"links": (LINK,), "can_unsubscribe": True}, "nobody can unsubscribe from it"),
        ({"links": (replace(LINK, path="invoices"),)}, "must start with exactly one /"),
        ({"links": (replace(LINK, path="//evil.example"),)}, "must start with exactly one /"),
        ({"links": (replace(LINK, variable="number"),)}, "name of another variable"),
    ],
)
def test_an_invalid_kind_is_refused(register: Register, change: dict[str, Any], problem: str) -> None:
    """When it is loaded, not when the first email fails."""
    with pytest.raises(ConfigurationError) as caught:
        catalog_from_settings(register(replace(INVOICE, **change))).kinds  # noqa: B018 - loads them
    assert problem in caught.value.message
    assert "MAILCTL_CATALOG" in caught.value.message


def test_two_kinds_of_one_name_are_refused(register: Register) -> None:
    """The error names the kind."""
    with pytest.raises(ConfigurationError, match="registered twice"):
        catalog_from_settings(register(INVOICE, replace(INVOICE, template="other"))).kinds  # noqa: B018


@pytest.mark.parametrize("value", ["text", 42, ["invoice"]])
def test_other_objects_are_refused(register: Register, value: object) -> None:
    """In one sentence."""
    with pytest.raises(ConfigurationError, match="a_shop_emails"):
        catalog_from_settings(register(value=value)).kinds  # noqa: B018


class TestVariables:
    def make(self, **context: object) -> Any:
        """Make an email of the kind."""
        return make_content(INVOICE, USER, origins=frozenset(), context=context)

    def test_a_missing_variable_is_named(self) -> None:
        """With the kind."""
        with pytest.raises(InvalidInput, match="Kind invoice needs the variable amount"):
            self.make(number="7")

    def test_an_unknown_variable_is_named(self) -> None:
        """With the known ones."""
        with pytest.raises(InvalidInput, match="Kind invoice has no variable 'amont'") as caught:
            self.make(number="7", amount="30", amont="30")
        assert caught.value.fix == "Did you mean 'amount'?"

    def test_optional_variables_are_accepted(self) -> None:
        """And `locale`, which all kinds have."""
        assert self.make(number="7", amount="30", note="Thanks", locale="de").context["note"] == "Thanks"

    def test_a_variable_cannot_break_the_subject(self) -> None:
        """A line break would start another header."""
        with pytest.raises(InvalidInput, match="subject"):
            self.make(number="7\r\nBcc: eve@evil.example", amount="30")

    def test_a_token_without_a_link_is_refused(self) -> None:
        """This kind has no link."""
        with pytest.raises(InvalidInput, match="Kind invoice has no token 'token'"):
            make_content(
                INVOICE,
                USER,
                origins=frozenset(),
                context={"number": "7", "amount": "3"},
                tokens={"token": "a-token-of-ours"},
            )


def test_variables_without_a_sample_get_one() -> None:
    """A check needs a value for each variable."""
    content = sample_content(replace(INVOICE, samples={"amount": "30.00"}))
    assert content.context == {"number": "[number]", "amount": "30.00"}


def test_templates_have_other_names() -> None:
    """With or without their endings."""
    settings = Settings(
        mailctl_template_aliases=" password-reset = reset, newsletter.html=emails/news.html ,"
    )
    assert catalog_from_settings(settings).template_aliases == {
        "password-reset": "reset",
        "newsletter": "emails/news",
    }


@pytest.mark.parametrize(
    "value", ["reset", "=reset", "a=", "a=../b", "reset=news", "new-ip.html=news", "a=b,a=c", "a b=c"]
)
def test_other_names_that_cannot_be_used_are_configuration_errors(value: str) -> None:
    """The name of a security template stays what it is, with its rules."""
    with pytest.raises(ConfigurationError, match="MAILCTL_TEMPLATE_ALIASES"):
        catalog_from_settings(Settings(mailctl_template_aliases=value))
