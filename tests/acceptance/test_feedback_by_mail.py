"""Bounces as real programs make and keep them: Postfix relays and gives up, Dovecot has the mailbox."""

from __future__ import annotations

import os
import re
import shutil
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from typing_extensions import override

from mailctl.diagnosis.status import StatusService
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.errors import LogUnavailable, ServiceUnavailable
from mailctl.feedback.imap import ImapMailbox, ImapSource
from mailctl.feedback.ingest import MailIngester
from mailctl.feedback.lmtp import LmtpSource
from mailctl.feedback.log_tail import LogTail
from mailctl.feedback.watching import FeedbackWatch
from mailctl.security.bounce_address import bounce_address_from_settings
from mailctl.smtp.oauth import TokenSource
from tests.feedback_mail import samples
from tests.integration.delivering import Post
from tests.servers.dovecot import FOLDER, PASSWORD, USER, Dovecot, access_token, missing_for_dovecot
from tests.servers.postfix import COMMAND_USER, Postfix, missing_for_postfix
from tests.servers.process import PATIENCE
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.smtp_conversation import Context

UNKNOWN_USER = next(each for each in samples("bounces") if each.name == "postfix-unknown-user")
DOMAIN = "bounce.example.org"
ADDRESS = f"bounces@{DOMAIN}"
MAILBOXES = "mailbox.example.org"
#: A pipe transport as in the documentation. The user of the command may not run the Python of the tests: the
#: command passes message and recipient to the test, and ends with what the test gives back.
_PIPE = (
    "bounces unix - n n - - pipe\n"
    "  flags=q user={user} argv=/usr/bin/perl {script} {port} ${{original_recipient}}"
)
_SCRIPT = """
use IO::Socket::INET;
my $socket = IO::Socket::INET->new("127.0.0.1:$ARGV[0]") or exit 75;
print $socket "$ARGV[1]\\n";
while (read(STDIN, my $octets, 65536)) { print $socket $octets; }
$socket->flush;
$socket->shutdown(1);
my $code = <$socket>;
print while <$socket>;
exit $code;
"""
#: A delivery log on a server that does not run.
NO_LOG = "postgresql://mailctl@127.0.0.1:1/mailctl"
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
    """What Postfix talks to: a server that refuses some, a mailbox server, and the pipe for bounces."""

    def __init__(self) -> None:
        self.server = ScriptedSmtpServer({"rcpt": self._answer})
        self.mailboxes_are_open = threading.Event()
        self.mailboxes = LmtpSource("127.0.0.1:0")
        #: The mail that came through the pipe, with its envelope recipient.
        self.bounces: list[tuple[bytes, str]] = []
        #: The environment in which `mailctl feedback ingest` takes that mail; None only keeps it.
        self.environment: dict[str, str] | None = None

    def _answer(self, context: Context) -> str | None:
        return "550 5.1.1 no such user" if "unknown@" in context.line else None

    def put_into_mailbox(self, _: bytes, __: str) -> None:
        """Take a message as a mailbox server does, or defer it."""
        if not self.mailboxes_are_open.is_set():
            raise LogUnavailable("The mailbox is busy.")

    def take_bounce(self, data: bytes, recipient: str) -> tuple[int, bytes]:
        """Return what the command of the pipe ends with, and what it prints."""
        self.bounces.append((data, recipient))
        if self.environment is None:
            return 0, b""
        command = [sys.executable, "-m", "mailctl", "feedback", "ingest", "-", "--recipient", recipient]
        done = subprocess.run(
            command, input=data, env=self.environment, capture_output=True, timeout=PATIENCE, check=False
        )
        return done.returncode, done.stdout + done.stderr


class _Pipe(socketserver.ThreadingTCPServer):
    """Listens for the command of the pipe."""

    daemon_threads = True

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        super().__init__(("127.0.0.1", 0), _PipeHandler)


class _PipeHandler(socketserver.StreamRequestHandler):
    @override
    def handle(self) -> None:
        recipient = self.rfile.readline().decode().strip()
        assert isinstance(self.server, _Pipe)
        code, output = self.server.relay.take_bounce(self.rfile.read(), recipient)
        self.wfile.write(b"%d\n" % code + output)


@contextmanager
def running(target: Callable[[], object], *, end: Callable[[], object]) -> Iterator[None]:
    """Run a function in a thread for the block."""
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        end()
        thread.join()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, Postfix]]:
    """A relay, shared by the tests."""
    folder = Path(tempfile.mkdtemp(prefix="bounces-"))
    folder.chmod(0o755)
    (folder / "pass-on.pl").write_text(_SCRIPT)
    relay, stopped = Relay(), threading.Event()
    run_mailboxes = partial(relay.mailboxes.run, relay.put_into_mailbox, stopped=stopped, once=False)
    with (
        relay.server,
        _Pipe(relay) as pipe,
        running(pipe.serve_forever, end=pipe.shutdown),
        running(run_mailboxes, end=stopped.set),
    ):
        until(lambda: relay.mailboxes.port is not None)
        transport = _PIPE.format(user=COMMAND_USER, script=folder / "pass-on.pl", port=pipe.server_address[1])
        mailboxes = {MAILBOXES: relay.mailboxes.port or 0}
        with Postfix(relay.server.port, transport, domain=DOMAIN, mailboxes=mailboxes) as postfix:
            yield relay, postfix
    shutil.rmtree(folder)


@pytest.fixture
def post(relay: tuple[Relay, Postfix], tmp_path: Path) -> Iterator[Post]:
    """A delivery through the relay, by which mail servers are asked for reports of deliveries as well."""
    server = ScriptedSmtpServer(port=relay[1].port)
    found = Post(tmp_path, server, mailctl_bounce_address=ADDRESS, mailctl_notify_success=True)
    yield found
    found.close()
    relay[0].environment = None
    relay[0].mailboxes_are_open.clear()


def environment_of(post: Post) -> dict[str, str]:
    """Return the environment of a command with the delivery log of a test."""
    settings = post.runtime.settings
    return {
        "PATH": os.environ["PATH"],
        "MAILCTL_HOME": str(settings.mailctl_home),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "MAILCTL_BOUNCE_ADDRESS": ADDRESS,
    }


def send(post: Post, address: str) -> tuple[str, str]:
    """Send an email to the relay; return its id and its envelope sender."""
    bounces = bounce_address_from_settings(post.runtime.settings)
    assert bounces is not None
    email_id = post.record(address)
    assert post.deliver(email_id).state is State.SENT
    return email_id, bounces.sender(email_id)


def reports_to(relay: tuple[Relay, Postfix], sender: str, *, count: int = 1) -> list[bytes]:
    """Wait for so many reports about an email, and return them."""

    def found() -> list[bytes]:
        return [data for data, to in relay[0].bounces if to == sender]

    until(lambda: len(found()) >= count, what=lambda: relay[1].maillog)
    return found()


@needs_postfix
def test_a_bounce_is_piped_into_the_command(relay: tuple[Relay, Postfix], post: Post) -> None:
    """Postfix keeps it while the delivery log is down; then it is bounced and suppressed, with the words."""
    relay[0].environment = environment_of(post) | {"MAILCTL_DATABASE_URL": NO_LOG}
    email_id, sender = send(post, "unknown@example.com")
    deferred = f"to=<{re.escape(sender)}>, relay=bounces, .*dsn=4.3.0, status=deferred .temporary failure"
    until(lambda: re.search(deferred, relay[1].maillog) is not None, what=lambda: relay[1].maillog)
    assert post.email(email_id).state is State.SENT
    relay[0].environment = environment_of(post)
    until(lambda: post.email(email_id).state is State.BOUNCED, what=lambda: relay[1].maillog)
    taken = f"to=<{re.escape(sender)}>, relay=bounces, .*dsn=2.0.0, status=sent .*1 recorded"
    until(lambda: re.search(taken, relay[1].maillog) is not None, what=lambda: relay[1].maillog)
    why = StatusService(post.runtime).why(email_id).causes[0].sentence
    assert "550 5.1.1 no such user" in why
    entry = post.runtime.suppressions.find("unknown@example.com")
    assert entry is not None
    assert entry.email_id == email_id


@needs_postfix
def test_delayed_and_then_delivered(relay: tuple[Relay, Postfix], post: Post) -> None:
    """By the reports of Postfix, and by its log; the delay that comes again later changes nothing."""
    email_id, sender = send(post, f"zoe@{MAILBOXES}")
    [delay] = reports_to(relay, sender)
    ingester = MailIngester(post.runtime)
    ingester.take(delay, recipient=sender)
    why = StatusService(post.runtime).why(email_id).causes[0]
    assert (post.email(email_id).state, why.name) == (State.SENT, "delayed")
    assert "451 4.3.0 Try again later; not given up yet" in why.sentence

    relay[0].mailboxes_are_open.set()
    delivery = reports_to(relay, sender, count=2)[-1]
    ingester.take(delivery, recipient=sender)
    ingester.take(delay.replace(b"Message-I", b"Message-i"), recipient=sender)
    why = StatusService(post.runtime).why(email_id).causes[0]
    assert (post.email(email_id).state, why.name) == (State.DELIVERED, "delivered")
    assert "250 2.0.0 Taken" in why.sentence
    kinds = [event.reason_code for event in post.runtime.history.events(email_id)][-2:]
    assert kinds == [ReasonCode.DELAY_REPORTED, ReasonCode.DELIVERY_REPORTED]

    tail = LogTail(post.runtime)
    for line in relay[1].maillog.splitlines():
        tail.read(line)
    assert tail.flush(is_end=True).recorded == 2


@needs_postfix
def test_what_a_server_without_reports_takes_is_not_delivered(
    relay: tuple[Relay, Postfix], post: Post
) -> None:
    """Postfix reports that it has relayed it, and will say no more unless it fails."""
    email_id, sender = send(post, "zoe@example.com")
    [report] = reports_to(relay, sender)
    MailIngester(post.runtime).take(report, recipient=sender)
    why = StatusService(post.runtime).why(email_id).causes[0]
    assert (post.email(email_id).state, why.name) == (State.SENT, "relayed")
    assert "that server reports no delivery" in why.sentence


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dovecot, Path]]:
    """A Dovecot, shared by the tests, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    ca_file, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.cert_chain_pems[0].write_to_path(str(cert))
    certificate.private_key_pem.write_to_path(str(key))
    with Dovecot(cert=cert, key=key) as server:
        yield server, ca_file


def mailbox_of(dovecot: tuple[Dovecot, Path], **how: Any) -> ImapMailbox:
    """Return the mailbox in Dovecot, with two folders."""
    where = {"host": "localhost", "port": dovecot[0].port, "has_implicit_tls": True, "ca_file": dovecot[1]}
    return ImapMailbox(**{"user": USER, "folders": ("INBOX", FOLDER), **where, **how})


def bounce_of(post: Post) -> tuple[str, bytes]:
    """Return the id of an email that was sent, and its bounce as Postfix writes it."""
    bounces = bounce_address_from_settings(post.runtime.settings)
    assert bounces is not None
    email_id = post.record("unknown@example.com")
    assert post.deliver(email_id).state is State.SENT
    return email_id, UNKNOWN_USER.mail(token=bounces.token(email_id))


@pytest.fixture
def direct_post(tmp_path: Path) -> Iterator[Post]:
    """A delivery to a server that accepts everything."""
    with ScriptedSmtpServer() as server:
        found = Post(tmp_path / "home", server, mailctl_bounce_address=ADDRESS)
        yield found
        found.close()


@needs_dovecot
def test_a_bounce_in_a_mailbox_is_found_while_it_is_watched(
    dovecot: tuple[Dovecot, Path], direct_post: Post
) -> None:
    """The server tells of it, in each of several folders: nothing else ends the waiting of this test."""
    server, _ = dovecot
    mailbox = mailbox_of(dovecot, password=PASSWORD)
    sources = [ImapSource(mailbox, name, idle_seconds=10 * PATIENCE) for name in mailbox.folders]
    watch = FeedbackWatch(direct_post.runtime, sources)
    with running(watch.run, end=watch.stop):
        until(lambda: server.idle_clients() == 2, what=lambda: server.output)
        for folder in ("", FOLDER):
            deliver_and_wait(server, direct_post, folder)


def deliver_and_wait(server: Dovecot, post: Post, folder: str) -> None:
    """Put a bounce into a folder, and wait until it is recorded and marked as seen."""
    email_id, data = bounce_of(post)
    server.deliver(data, name=f"1.{folder}", folder=folder)
    until(lambda: post.email(email_id).state is State.BOUNCED, what=lambda: server.output)
    # So that no other process takes it again.
    seen = server.maildir_of(folder) / "cur"
    until(lambda: any(path.name.endswith("S") for path in seen.iterdir()))


@needs_dovecot
def test_starttls_protects_the_password(dovecot: tuple[Dovecot, Path], direct_post: Post) -> None:
    """A server whose certificate is not trusted does not get it."""
    server, _ = dovecot
    email_id, data = bounce_of(direct_post)
    server.deliver(data, name="4.starttls")
    how = {"port": server.starttls_port, "has_implicit_tls": False, "password": PASSWORD}
    for untrusted in (mailbox_of(dovecot, **how, ca_file=None), mailbox_of(dovecot, **how, host="127.0.0.1")):
        with pytest.raises(ServiceUnavailable) as caught:
            FeedbackWatch(direct_post.runtime, [ImapSource(untrusted, "INBOX")]).run_once()
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    FeedbackWatch(direct_post.runtime, [ImapSource(mailbox_of(dovecot, **how), "INBOX")]).run_once()
    assert direct_post.email(email_id).state is State.BOUNCED


@needs_dovecot
def test_access_tokens_sign_in_to_a_mailbox(dovecot: tuple[Dovecot, Path], direct_post: Post) -> None:
    """XOAUTH2: a token that is refused is replaced for the next connection; what it was is in no log."""
    server, _ = dovecot
    email_id, data = bounce_of(direct_post)
    server.deliver(data, name="3.token")
    refused, valid = access_token(key=b"another-key"), access_token()
    fetched = [valid, refused]
    tokens = TokenSource(lambda _: fetched.pop(), setting="MAILCTL_FEEDBACK_IMAP_TOKEN_COMMAND")
    mailbox = mailbox_of(dovecot, tokens=tokens)
    watch = FeedbackWatch(direct_post.runtime, [ImapSource(mailbox, "INBOX")])
    with pytest.raises(ServiceUnavailable) as caught:
        watch.run_once()
    assert refused not in str(caught.value)
    assert fetched == []
    watch.run_once()
    assert direct_post.email(email_id).state is State.BOUNCED
