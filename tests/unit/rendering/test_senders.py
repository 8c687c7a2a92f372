"""MAILCTL_SENDERS: From, bounce address and Reply-To, in a file that says the same for every email."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.models import Content
from mailctl.errors import ConfigurationError
from mailctl.rendering.message_settings import message_settings_of
from mailctl.settings import Settings
from tests.unit.rendering.composing import compose, composer, read, user

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.domain.senders import Senders

GOOD = """
[senders.security]
address = "security@shop.example"
name = "Shop Security"
bounce_address = "bounces@mail.shop.example"
reply_to = "help@shop.example"
kinds = ["reset"]

[senders.press]
address = "press@shop.example"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "senders.toml"
    path.write_text(text)
    return path


def load(folder: Path, text: str) -> Senders:
    return message_settings_of(Settings(MAILCTL_SENDERS=write(folder, text), PROJECT_NAME="Shop")).senders


def test_a_sender_has_its_own_addresses(tmp_path: Path) -> None:
    """What it leaves out is as for the default one; bounces go to its own address."""
    security, press = (load(tmp_path, GOOD).choose(kind="x", requested=n) for n in ("security", "press"))
    assert (security.display_name, security.bounce_address) == ("Shop Security", "bounces@mail.shop.example")
    assert (press.display_name, press.bounce_address, press.reply_to) == ("Shop", "press@shop.example", "")


def test_the_default_sender_may_have_a_bounce_address(tmp_path: Path) -> None:
    """Its other values are those of EMAIL_FROM_ADDRESS and EMAIL_FROM_NAME."""
    text = '[senders.default]\nbounce_address = "bounces@shop.example"\n'
    default = load(tmp_path, text).choose(kind="welcome")
    assert (default.address, default.bounce_address) == ("noreply@example.com", "bounces@shop.example")


def test_an_email_is_composed_with_its_sender(tmp_path: Path) -> None:
    """The envelope, From, Reply-To and the domain of the Message-ID."""
    path = write(tmp_path, GOOD)
    envelope, other = (compose(kind, by=composer(mailctl_senders=path)) for kind in (RESET, WELCOME))
    message = read(envelope).message
    assert envelope.sender == "bounces@mail.shop.example"
    assert message["From"] == "Shop Security <security@shop.example>"
    assert message["Reply-To"] == "help@shop.example"
    assert envelope.message_id.endswith("@shop.example>")
    assert (other.sender, read(other).message["Reply-To"]) == ("noreply@example.com", None)


def test_names_of_strangers_never_get_into_the_sender(tmp_path: Path) -> None:
    """Whatever the user is called, and whatever the variables of the email are."""
    stranger = user(username="Boss <boss@evil.example>", first_name='"Eve" <eve@evil.example>')
    content = Content(user=stranger, context={"sender": "evil", "tenant": "evil", "from": "evil"})
    by = composer(mailctl_senders=write(tmp_path, GOOD))
    envelope = compose(RESET, replace(content, sender="press"), by=by)
    message = read(envelope).message
    assert (envelope.sender, message["From"]) == ("press@shop.example", "Acme <press@shop.example>")
    assert "evil" not in message["From"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('address = "press@shop.example"', ""), "senders.press.address is missing"),
        (('"press@shop.example"', '"press"'), "senders.press.address is not a valid email"),
        (('"press@shop.example"', '"{user.email}"'), "nothing in braces is filled in"),
        (('"Shop Security"', '"{first_name} via Shop"'), "senders.security.name is the same for every email"),
        (('"Shop Security"', '"a\\nb"'), "senders.security.name must be text of one line"),
        (('"Shop Security"', "7"), "senders.security.name must be text of one line"),
        (("bounce_address", "return_path"), "senders.security.return_path is unknown; use one of:"),
        (("[senders.press]", "[senders.default]\nkinds = ['x']"), "senders.default.kinds and tenants cannot"),
        (("[senders.press]", '[senders."a b"]'), "a name has 1 to 32 letters a-z"),
        (('kinds = ["reset"]', 'tenants = ["a b"]'), "senders.security.tenants must be 1 to 64"),
        (("[senders.press]", "[sender.press]"), "sender is unknown; use one of: senders"),
    ],
)
def test_each_mistake_is_one_sentence(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """With the setting, the file and the place."""
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, GOOD.replace(*change))
    assert said in raised.value.message
    assert raised.value.message.startswith(f"MAILCTL_SENDERS ({tmp_path / 'senders.toml'}): ")


def test_an_email_may_say_its_kind_in_a_header() -> None:
    """MAILCTL_HEADERS with values by kind."""
    headers = '{"X-Type": {"reset": "security", "*": "other"}, "X-Only": {"welcome": "yes"}}'
    by = composer(mailctl_headers=headers)
    reset, welcome = (read(compose(kind, by=by)).message for kind in (RESET, WELCOME))
    assert (reset["X-Type"], reset["X-Only"]) == ("security", None)
    assert (welcome["X-Type"], welcome["X-Only"]) == ("other", "yes")


def test_a_bounce_address_of_its_own_comes_before_the_one_for_all(tmp_path: Path) -> None:
    """MAILCTL_BOUNCE_ADDRESS is for senders that name none; From stays the sender's."""
    path = write(tmp_path, GOOD)
    by = composer(mailctl_senders=path, mailctl_bounce_address="bounces@shop.example")
    own, others = compose(RESET, by=by), compose(WELCOME, by=by)
    assert (own.sender, own.from_address) == ("bounces@mail.shop.example", "security@shop.example")
    assert own.bounce_token == ""
    assert others.sender.startswith("bounces+")
    assert others.from_address == "noreply@example.com"
