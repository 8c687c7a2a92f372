"""Sign up, verify, reset, and sign in from a new address, by the service's own endpoints and tokens."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pytest

from tests.service_dropin.conftest import SETTINGS, body, install, running_shop
from tests.tokens import claims_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import RedisServer
    from tests.service_dropin.conftest import Shop

#: The lines of the service's code that may change.
MAX_CHANGED_LINES = 3


def test_a_new_user_is_greeted_and_verifies_the_address(shop: Shop) -> None:
    """The service reads its own token from the link."""
    account = shop.sign_up("zoe")
    shop.message(account["email"], "elcome")
    [link] = shop.links(account["email"], "verify-email")
    assert shop.client.get(link).json() == {"is_verified": True}
    assert shop.client.get(link[:-4] + "AAAA").status_code == 400


def test_a_forgotten_password_is_replaced(shop: Shop) -> None:
    """By the one who got the link."""
    account = shop.sign_up("ada")
    assert shop.client.post("/forgot-password", json={"email": account["email"]}).status_code == 202
    [link] = shop.links(account["email"], "reset-password")
    assert shop.client.post(link, json={"password": "battery staple"}).json() == {"is_reset": True}
    assert shop.client.post("/sign-in", json=account).status_code == 401
    assert shop.client.post("/sign-in", json=account | {"password": "battery staple"}).status_code == 200


@pytest.mark.parametrize(("name", "position", "action"), [("max", 0, "whitelist"), ("eve", 1, "blacklist")])
def test_a_new_address_is_allowed_or_blocked(shop: Shop, name: str, position: int, action: str) -> None:
    """Each link carries its own token."""
    account, ip = shop.sign_up(name), {"X-Forwarded-For": "203.0.113.7"}
    assert shop.client.post("/sign-in", json=account, headers=ip).json()["action"] == "unknown"
    links = shop.links(account["email"], "203.0.113.7")
    assert len(links) == 2
    assert shop.client.get(links[position]).json() == {"action": action}
    assert shop.client.post("/sign-in", json=account, headers=ip).json()["action"] == action


def test_the_adoption_changes_at_most_three_lines(tmp_path: Path) -> None:
    """Besides settings."""
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        install(tmp_path / name, has_mailctl=name == "after")
    changed = [
        line
        for file in sorted((tmp_path / "before" / "shop").rglob("*.*"))
        for line in difflib.unified_diff(
            file.read_text().splitlines(),
            (tmp_path / "after" / "shop" / file.relative_to(tmp_path / "before" / "shop"))
            .read_text()
            .splitlines(),
            lineterm="",
        )
        if line.startswith(("+", "-")) and not line.startswith(("+++", "---"))
    ]
    added = [line for line in changed if line.startswith("+")]
    assert added == ["+from mailctl import EmailService"]
    assert len(changed) <= MAX_CHANGED_LINES


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Shop]:
    """The service with mailctl, its templates, and the function that makes its tokens."""
    address = f"{redis_server.url.rpartition('/')[0]}/6"
    folder = tmp_path_factory.mktemp("dropin") / "adopted"
    more = {"MAILCTL_TEMPLATES": "shop/templates", "MAILCTL_LINK_MINT": "tests.service_dropin.mint:mint"}
    with running_shop(folder, has_mailctl=True, redis=address, settings=SETTINGS | more) as shop:
        yield shop


class TestWithMailctl:
    """What the service gains besides."""

    def test_an_operator_sends_links_that_the_service_reads(self, adopted: Shop) -> None:
        """With the tokens of its own function, for each kind that has links."""
        account, user_id = adopted.sign_up_with_id("ann")
        send = ("send", "new-ip", "--user-id", user_id, "--ip", "198.51.100.9", "--wait")
        assert adopted.terminal.run(*send).code == 0
        allow, block = adopted.links(account["email"], "198.51.100.9")
        assert claims_of(allow.partition("t=")[2])["action"] == "whitelist"
        assert adopted.client.get(block).json() == {"action": "blacklist"}
        assert adopted.terminal.run("send", "reset", "--user-id", user_id, "--wait").code == 0
        [reset] = adopted.links(account["email"], "reset-password")
        assert adopted.client.post(reset, json={"password": "battery staple"}).json() == {"is_reset": True}

    def test_its_html_templates_work_with_nested_variables(self, adopted: Shop) -> None:
        """For recipients of FastAPI-Mail, by the names that its code uses."""
        adopted.call(
            "from fastapi_mail import NameEmail",
            "recipients = [NameEmail(name='Kim', email='kim@example.com')]",
            "context = {'name': 'Kim', 'url': 'https://shop.example/a?b=1', 'user': {'tags': [{'id': 1}]}}",
            "asyncio.run(EmailService.send_email('A link', recipients, 'link.html', context))",
        )
        message = adopted.message("kim@example.com", "follow this link")
        text = "Hello Kim, follow this link <https://shop.example/a?b=1>.\n"
        assert body(message, "plain").replace("\r\n", "\n") == text
        assert message["To"] == "Kim <kim@example.com>"

    def test_check_config_says_that_the_service_reads_its_links(self, adopted: Shop) -> None:
        """For each purpose."""
        adopted.sign_up("joe")
        checks = adopted.terminal.run("check-config", "--json").data["checks"]
        found = {check["name"]: check for check in checks if check["group"] == "links"}
        for purpose in ("reset-password", "verify-email", "ip-whitelist", "ip-blacklist"):
            assert (found[purpose]["status"], "which your service reads" in found[purpose]["detail"]) == (
                "ok",
                True,
            )
