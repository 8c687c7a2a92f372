"""The kinds of email that a service registers."""

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


def test_they_stand_beside_ours(register: Register) -> None:
    """And are found by name."""
    catalog = catalog_from_settings(register(INVOICE))
    assert list(catalog.kinds) == [*BUILT_IN_KINDS, "invoice"]
    assert catalog.get("invoice") is INVOICE


@pytest.mark.parametrize("value", [INVOICE, [INVOICE], {"invoice": INVOICE}])
def test_one_some_or_a_table(register: Register, value: object) -> None:
    """However the service keeps them."""
    assert catalog_from_settings(register(value=value)).get("invoice") is INVOICE


def test_a_package_may_bring_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point, once it is installed."""
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


def test_ours_are_known_without_loading() -> None:
    """So that a catalog costs nothing where nobody asks for it."""
    catalog = catalog_from_settings(Settings(mailctl_catalog="there.is.no.such.module"))
    assert catalog.get("reset").name == "reset"
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        catalog.get("invoice")


def test_who_knows_no_such_kind_says_so() -> None:
    """To who asks, with the names; of an email in the log it is the settings that are wrong."""
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
        ({"links": (replace(LINK, path="invoices"),)}, "must start with exactly one /"),
        ({"links": (replace(LINK, path="//evil.example"),)}, "must start with exactly one /"),
        ({"links": (replace(LINK, variable="number"),)}, "name of another variable"),
    ],
)
def test_one_that_cannot_be_used_is_told(register: Register, change: dict[str, Any], problem: str) -> None:
    """When it is loaded, and not when the first email fails."""
    with pytest.raises(ConfigurationError) as caught:
        catalog_from_settings(register(replace(INVOICE, **change))).kinds  # noqa: B018 - loads them
    assert problem in caught.value.message
    assert "MAILCTL_CATALOG" in caught.value.message


def test_a_name_is_for_one(register: Register) -> None:
    """Two of one name are an error."""
    with pytest.raises(ConfigurationError, match="registered twice"):
        catalog_from_settings(register(INVOICE, replace(INVOICE, template="other"))).kinds  # noqa: B018


@pytest.mark.parametrize("value", ["text", 42, ["invoice"]])
def test_what_is_no_kind_is_told(register: Register, value: object) -> None:
    """In one sentence."""
    with pytest.raises(ConfigurationError, match="a_shop_emails"):
        catalog_from_settings(register(value=value)).kinds  # noqa: B018


class TestVariables:
    def make(self, **context: object) -> Any:
        """Make an email of the kind."""
        return make_content(INVOICE, USER, origins=frozenset(), context=context)

    def test_a_missing_one_is_named(self) -> None:
        """With the kind."""
        with pytest.raises(InvalidInput, match="amount: is missing; an email of kind invoice"):
            self.make(number="7")

    def test_an_unknown_one_is_named(self) -> None:
        """With those that it knows."""
        with pytest.raises(InvalidInput, match="kind invoice has no variable 'amont'") as caught:
            self.make(number="7", amount="30", amont="30")
        assert "number, amount, note" in caught.value.fix

    def test_an_optional_one_may_come(self) -> None:
        """And `locale`, which all have."""
        assert self.make(number="7", amount="30", note="Thanks", locale="de").context["note"] == "Thanks"

    def test_what_breaks_the_subject_is_refused(self) -> None:
        """A line break would begin another header."""
        with pytest.raises(InvalidInput, match="subject"):
            self.make(number="7\r\nBcc: eve@evil.example", amount="30")

    def test_a_token_needs_its_link(self) -> None:
        """This kind has none."""
        with pytest.raises(InvalidInput, match="has no token 'token'"):
            make_content(
                INVOICE,
                USER,
                origins=frozenset(),
                context={"number": "7", "amount": "3"},
                tokens={"token": "a-token-of-ours"},
            )


def test_samples_are_made_up_where_there_are_none() -> None:
    """A check needs a value for each variable."""
    content = sample_content(replace(INVOICE, samples={"amount": "30.00"}))
    assert content.context == {"number": "[number]", "amount": "30.00"}
