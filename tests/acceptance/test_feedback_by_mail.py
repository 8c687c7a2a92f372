"""Bounces as real programs make and keep them: Postfix relays and gives up, Dovecot has the mailbox."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from mailctl.diagnosis.status import StatusService
from mailctl.domain.models import State
from mailctl.feedback.imap import ImapMailbox, ImapSource
from mailctl.feedback.watching import FeedbackWatch
from tests.integration.delivering import Post
from tests.servers.dovecot import PASSWORD, USER, Dovecot, missing_for_dovecot
from tests.servers.postfix import COMMAND_USER, Postfix, missing_for_postfix
from tests.servers.process import PATIENCE
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.smtp_conversation import Context

DOMAIN = "bounce.example.org"
ADDRESS = f"bounces@{DOMAIN}"
#: A pipe transport as in the documentation; the command keeps what it gets for a process of the test's user.
_PIPE = (
    "bounces unix - n n - - pipe\n  flags=q user={user} argv=/bin/sh -c "
    "{{cat >{folder}/.$$ && echo '${{original_recipient}}' >{folder}/$$.to"
    " && mv {folder}/.$$ {folder}/$$.eml}}"
)
missing = missing_for_postfix()
needs_postfix = pytest.mark.skipif(bool(missing), reason=missing)
needs_dovecot = pytest.mark.skipif(bool(missing_for_dovecot()), reason=missing_for_dovecot())


def until(condition: Callable[[], bool], *, what: Callable[[], str] = str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


class Relay:
    """A Postfix that relays to a server which refuses some recipients, and pipes bounces into a folder."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder
        self.server = ScriptedSmtpServer({"rcpt": self._answer})
        self.deferrals = 3

    def _answer(self, context: Context) -> str | None:
        if "unknown@" in context.line:
            return "550 5.1.1 no such user"
        if "later@" in context.line and self.deferrals:
            self.deferrals -= 1
            return "451 4.2.1 not now"
        return None

    def bounces(self) -> list[tuple[bytes, str]]:
        """Return the mail that Postfix has handed over, with its envelope recipient."""
        found = sorted(self.incoming.glob("*.eml"))
        return [(path.read_bytes(), path.with_suffix(".to").read_text().strip()) for path in found]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, Postfix]]:
    """A relay, shared by the tests."""
    import shutil
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="bounces-"))
    shutil.chown(folder, COMMAND_USER)
    relay = Relay(folder)
    with relay.server:
        transport = _PIPE.format(user=COMMAND_USER, folder=folder)
        with Postfix(relay.server.port, transport, domain=DOMAIN) as postfix:
            yield relay, postfix
    shutil.rmtree(folder)


@pytest.fixture
def post(relay: tuple[Relay, Postfix], tmp_path: Path) -> Iterator[Post]:
    """A delivery through the relay."""
    server = ScriptedSmtpServer(port=relay[1].port)
    found = Post(tmp_path, server, mailctl_bounce_address=ADDRESS)
    yield found
    found.close()


def bounce_of(relay: tuple[Relay, Postfix], post: Post, address: str) -> tuple[str, bytes, str]:
    """Send an email, and return its id and what Postfix hands over about it."""
    from mailctl.security.bounce_address import bounce_address_from_settings

    bounces = bounce_address_from_settings(post.runtime.settings)
    assert bounces is not None
    email_id = post.record(address)
    assert post.deliver(email_id).state is State.SENT
    sender = bounces.sender(email_id)
    until(lambda: sender in {to for _, to in relay[0].bounces()}, what=lambda: relay[1].maillog)
    return email_id, *next(each for each in relay[0].bounces() if each[1] == sender)


@needs_postfix
def test_a_bounce_of_postfix_is_recorded_by_the_command(relay: tuple[Relay, Postfix], post: Post) -> None:
    """Sent, then bounced and suppressed, with what the refusing server said."""
    email_id, data, recipient = bounce_of(relay, post, "unknown@example.com")
    settings = post.runtime.settings
    environment = {
        "PATH": os.environ["PATH"],
        "MAILCTL_HOME": str(settings.mailctl_home),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "MAILCTL_BOUNCE_ADDRESS": ADDRESS,
    }
    command = [sys.executable, "-m", "mailctl", "feedback", "ingest", "--recipient", recipient]
    done = subprocess.run(command, input=data, env=environment, capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, b"1 recorded\n"), done.stderr
    assert post.email(email_id).state is State.BOUNCED
    why = StatusService(post.runtime).why(email_id).causes[0].sentence
    assert "550 5.1.1 no such user" in why
    entry = post.runtime.suppressions.find("unknown@example.com")
    assert entry is not None
    assert entry.email_id == email_id


@needs_postfix
def test_a_delay_is_told_and_changes_nothing(relay: tuple[Relay, Postfix], post: Post) -> None:
    """Postfix goes on trying, and delivers."""
    from mailctl.feedback.ingest import MailIngester

    email_id, data, recipient = bounce_of(relay, post, "later@example.com")
    MailIngester(post.runtime).take(data, recipient=recipient)
    assert post.email(email_id).state is State.SENT
    assert StatusService(post.runtime).why(email_id).causes[0].name == "delayed"
    until(lambda: any("later@example.com" in str(each) for each in relay[0].server.messages))


@needs_postfix
@needs_dovecot
def test_a_bounce_in_a_mailbox_is_found_while_it_is_watched(
    relay: tuple[Relay, Postfix], post: Post, tmp_path: Path
) -> None:
    """By IMAP with TLS and IDLE, in one of several folders."""
    email_id, data, _ = bounce_of(relay, post, "unknown@example.com")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    ca_file, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.cert_chain_pems[0].write_to_path(str(cert))
    certificate.private_key_pem.write_to_path(str(key))
    with Dovecot(cert=cert, key=key) as dovecot:
        mailbox = ImapMailbox(
            host="localhost",
            port=dovecot.port,
            user=USER,
            folders=("INBOX", "Junk"),
            has_implicit_tls=True,
            password=PASSWORD,
            ca_file=ca_file,
        )
        watch = FeedbackWatch(post.runtime, [ImapSource(mailbox, name) for name in mailbox.folders])
        thread = threading.Thread(target=watch.run)
        thread.start()
        dovecot.deliver(data, name="1.first")
        until(lambda: post.email(email_id).state is State.BOUNCED, what=lambda: dovecot.output)
        # Marked as seen, so that no other process takes it again.
        until(lambda: any(path.name.endswith("S") for path in (dovecot.maildir / "cur").iterdir()))
        watch.stop()
        thread.join()
