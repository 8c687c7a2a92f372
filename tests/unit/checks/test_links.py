"""Checks of the links: where they lead, and who can read them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.checks.links import check_links
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, by_name, production, write_module

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding, FindingStatus

PURPOSES = ("reset-password", "verify-email", "ip-whitelist", "ip-blacklist")
#: A function of a service that makes tokens which it reads itself.
MINT = """
from tests.tokens import hs256

def mint(request):
    return hs256({"sub": request.user.id, "type": request.purpose}, exp=request.expires_at)

def with_password(request):
    return hs256({"sub": request.user.id, "type": request.purpose, "h": request.user.hashed_password})

def without_action(request):
    return hs256({"sub": request.user.id, "ip": request.ip_address})

def expired(request):
    return hs256({"exp": 1})

def raising(request):
    raise KeyError(request.user.email)
"""


def check(**settings: Any) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_links(Settings(**settings), BUILT_IN_CATALOG, offline=False))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of the service with its function."""
    return write_module("shop_links", MINT, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "url",
    ["app.example.org", "http://[", "https://h:port", "http://", "x" * 9000, "https://a@b", "https://a?b"],
)
def test_links_without_a_usable_origin_are_a_failure(url: str) -> None:
    """FRONTEND_URL is their beginning."""
    assert check(frontend_url=url)["origins"].status is FAIL


def test_the_origin_of_links_is_named_even_if_it_is_refused_elsewhere() -> None:
    """In production, http is no origin for ready-made links, but emails lead there nevertheless."""
    settings = production(frontend_url="http://localhost:3000")
    found = by_name(check_links(settings, BUILT_IN_CATALOG, offline=True))
    assert found["origins"].detail == "links lead to http://localhost:3000"


def test_each_purpose_is_told_with_its_readers() -> None:
    """Where the link leads, what happens to tokens of the service, and who reads the others."""
    found = check(mailctl_link_paths="reset-password=/r/{token}")
    assert [found[purpose].status for purpose in PURPOSES] == [OK] * len(PURPOSES)
    assert found["reset-password"].detail == (
        "http://localhost:3000/r/…: the tokens of the service are used unchanged; without one,"
        " mailctl makes a sealed one, which only mailctl.links can read"
    )
    assert "tokens of the service are sealed" in check(mailctl_link_tokens="sealed")["verify-email"].detail


def test_links_that_a_service_with_its_own_app_may_not_read_are_a_warning() -> None:
    """It may have endpoints that read its own tokens."""
    found = check(mailctl_app="shop.celery:app")
    assert found["reset-password"].status is WARN
    assert "MAILCTL_LINK_MINT" in found["reset-password"].fix
    assert check(mailctl_app="shop.celery:app", mailctl_link_tokens="sealed")["ip-whitelist"].status is OK


def test_the_function_of_the_service_makes_one_link_of_each(module: str) -> None:
    """Whose tokens the service reads."""
    found = check(mailctl_link_mint=f"{module}:mint", mailctl_app="shop.celery:app")
    assert [found[purpose].status for purpose in PURPOSES] == [OK] * len(PURPOSES)
    made = f"without one, {module}:mint makes a JWT for 60 min, which your service reads"
    assert made in found["reset-password"].detail


def test_the_link_is_made_for_a_user_of_the_service(module: str, tmp_path: Path) -> None:
    """With all columns of the record."""
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, hashed_password TEXT)")
        database.execute("INSERT INTO users VALUES (7, 'zoe@example.com', '$2b$')")
    setting = f"{module}:with_password"
    assert check(mailctl_link_mint=setting, database_url=f"sqlite:///{file}")["verify-email"].status is OK
    assert check(mailctl_link_mint=setting)["verify-email"].status is FAIL


@pytest.mark.parametrize(
    ("function", "name", "status", "detail"),
    [
        ("without_action", "MAILCTL_LINK_MINT", FAIL, "Two links in an email of kind new-ip are identical"),
        ("expired", "reset-password", FAIL, "has expired already"),
        ("raising", "ip-blacklist", FAIL, "raised KeyError (shop_links"),
        ("nothing", "MAILCTL_LINK_MINT", FAIL, "cannot be imported"),
    ],
)
def test_a_function_that_does_not_work_is_a_failure(
    module: str, function: str, name: str, status: FindingStatus, detail: str
) -> None:
    """Before an email needs it."""
    found = check(mailctl_link_mint=f"{module}:{function}")
    assert (found[name].status, detail in found[name].detail) == (status, True)


def test_a_path_for_an_unknown_purpose_is_a_failure() -> None:
    """The fix names the purposes."""
    found = check(mailctl_link_paths="password-reset=/r")
    assert found["MAILCTL_LINK_PATHS"].status is FAIL
    assert "reset-password" in found["MAILCTL_LINK_PATHS"].fix
