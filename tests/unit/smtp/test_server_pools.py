"""The sender of a process: what guards it, and which mail server gets a message."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine

from mailctl.delivery_log.session_shares import SessionShares
from mailctl.domain.models import Envelope
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.domain.routing import Route, Routing
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.smtp.mail_servers import MailServers, NamedServer, mail_servers_from_settings
from mailctl.smtp.server import SmtpServer
from mailctl.smtp.server_pools import ServerPools, make_sender

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.smtp.sender import Sender

ENVELOPE = Envelope(
    sender="a@example.com", recipient="b@example.org", message_id="<m@example.com>", data=b"", subject="s"
)


def server(name: str, *, connections: int) -> NamedServer:
    """Return a mail server that nobody connects to."""
    smtp = SmtpServer(host=f"{name}.example", port=25, tls="none")
    return NamedServer(name=name, host=smtp.host, port=25, connections=connections, make_server=lambda: smtp)


SERVERS = MailServers(
    by_name={"default": server("default", connections=3), "backup": server("backup", connections=2)},
    routing=Routing(routes=(Route(servers=("default", "backup")),)),
)

#: Nothing here asks how many sessions the servers allow.
NO_LOG = create_engine("sqlite://")


def make_pools() -> ServerPools:
    """Return pools for two mail servers."""
    return ServerPools(SERVERS, shares={name: SessionShares(NO_LOG, name) for name in SERVERS.by_name})


class Pool:
    """A pool that accepts everything."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.sent: list[Envelope] = []
        self.is_closed = False

    def capacity(self, _server: str) -> int:
        return self._capacity

    def count_stuck(self, _server: str, *, is_campaign: bool) -> int:
        return 1 + is_campaign

    async def send(self, envelope: Envelope, **_: Any) -> Outcome:
        self.sent.append(envelope)
        return Outcome(kind=OutcomeKind.ACCEPTED)

    async def close(self) -> None:
        self.is_closed = True


def sender_of(tmp_path: Path, **settings: Any) -> Sender:
    """Return the sender of a process with these settings."""
    given = Settings(mailctl_home=tmp_path, **settings)
    policy = recipient_policy_from_settings(given)
    return make_sender(given, mail_servers_from_settings(given), NO_LOG, policy=policy)


def test_without_email_messages_are_captured(tmp_path: Path) -> None:
    """In the folder `mail` of MAILCTL_HOME."""
    outcome = asyncio.run(sender_of(tmp_path, email_enabled=False).send(ENVELOPE))
    assert outcome.kind is OutcomeKind.CAPTURED
    assert str(outcome.captured_file).startswith(str(tmp_path / "mail"))


@pytest.mark.parametrize("is_enabled", [False, True])
def test_a_recipient_that_the_policy_forbids_is_never_reached(tmp_path: Path, is_enabled: bool) -> None:
    """Neither a mail server nor a file gets the message."""
    sender = sender_of(tmp_path, email_enabled=is_enabled, mailctl_recipients_allow="@example.com")
    assert asyncio.run(sender.send(ENVELOPE)).kind is OutcomeKind.FORBIDDEN
    assert not (tmp_path / "mail").exists()


def test_a_message_goes_to_the_server_that_it_names() -> None:
    """The outcome names that server, too."""
    pools = make_pools()
    made: Any = {"default": Pool(3), "backup": Pool(2)}
    pools._pools = made
    outcome = asyncio.run(pools.send(replace(ENVELOPE, server="backup")))
    assert outcome.server == "backup"
    assert (len(made["default"].sent), len(made["backup"].sent)) == (0, 1)
    asyncio.run(pools.close())
    assert made["default"].is_closed
    assert made["backup"].is_closed


def test_each_server_has_a_capacity_of_its_own() -> None:
    """The settings count for one that has had no message yet; a server that is gone has none to speak of."""
    pools = make_pools()
    pools._pools["default"] = Pool(1)  # type: ignore[assignment]
    assert [pools.capacity(name) for name in ("default", "backup", "gone")] == [1, 2, 1]
    assert [pools.count_stuck(name, is_campaign=True) for name in ("default", "gone")] == [2, 0]


def test_a_server_that_the_settings_do_not_have_any_more_is_said() -> None:
    """An operator has to decide what becomes of its emails."""
    with pytest.raises(ConfigurationError, match="The mail server gone is not in MAILCTL_SERVERS any more"):
        asyncio.run(make_pools().send(replace(ENVELOPE, server="gone")))


def test_only_messages_that_can_move_on_share_the_failure_of_a_server() -> None:
    """At the last server of their order, each tries by itself."""
    pools = make_pools()
    shares = [pools._make_pool(name)._limits.shares_failures for name in ("default", "backup")]
    assert shares == [True, False]
