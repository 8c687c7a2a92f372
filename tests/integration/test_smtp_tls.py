"""TLS, credentials and probing against a real server: nothing in clear, nobody trusted unseen."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from mailctl.domain.outcomes import OutcomeKind
from mailctl.smtp.oauth import TokenSource
from mailctl.smtp.server import SmtpServer
from tests.smtp_client import hasty, message, plain, probe, send, signed_in
from tests.smtp_server import (
    Certificates,
    Reply,
    ScriptedSmtpServer,
    test_certificates,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.smtp.server import AuthMode

K = OutcomeKind


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return test_certificates(tmp_path_factory.mktemp("certificates"))


class TestEncryption:
    """Nothing secret in clear, nobody trusted without a certificate."""

    @pytest.mark.parametrize("is_implicit", [False, True])
    def test_credentials_and_message_go_over_tls(self, is_implicit: bool, certificates: Certificates) -> None:
        """With STARTTLS as with TLS from the start, and again on the open session."""
        with ScriptedSmtpServer(
            ssl_context=certificates.server, implicit=is_implicit, credentials=("app", "secret")
        ) as server:
            configured = replace(
                signed_in(server, certificates), tls="implicit" if is_implicit else "starttls"
            )
            outcomes = send(configured, message("a"), message("b"))
            assert server.sessions == 1
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.ACCEPTED]

    def test_wrong_credentials_are_tried_once_and_are_ours(self, certificates: Certificates) -> None:
        """Each further try would bring a lock-out nearer."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "other")) as server:
            [outcome] = send(signed_in(server, certificates), message())
            tries = [line for _, way, line in server.log if way == "C" and line.startswith("AUTH")]
        assert (outcome.kind, outcome.stage, len(tries)) == (K.CONFIG, "auth", 1)
        assert str(outcome) == "535 5.7.8 wrong credentials"

    def test_a_server_that_repeats_the_password_is_not_quoted_with_it(
        self, certificates: Certificates
    ) -> None:
        """As it is written, or as it went over the wire; in what is kept as in what a probe shows."""
        wire = [b64encode(each).decode() for each in (b"\0app\0secret", b"app\0app\0secret", b"secret")]
        refusal = "\n".join(
            ["535-5.7.8 not app secret", *(f"535-5.7.8 {each}" for each in wire), "535 5.7.8 ."]
        )
        script = {"auth": [Reply(refusal)] * 2}
        with ScriptedSmtpServer(
            script, ssl_context=certificates.server, credentials=("app", "other")
        ) as server:
            [outcome] = send(signed_in(server, certificates), message())
            steps = probe(signed_in(server, certificates))
        assert str(outcome) == "535 5.7.8 not app *** *** *** *** ."
        assert steps[-1].detail == str(outcome)

    def test_a_password_that_is_a_word_stays_in_other_replies(self, certificates: Certificates) -> None:
        """There only its encodings are masked."""
        script = {"rcpt": [Reply(f"550 5.7.1 no secret boxes {b64encode(b'secret').decode()}")]}
        with ScriptedSmtpServer(
            script, ssl_context=certificates.server, credentials=("app", "secret")
        ) as server:
            [outcome] = send(signed_in(server, certificates), message())
        assert str(outcome) == "550 5.7.1 no secret boxes ***"

    @pytest.mark.parametrize("is_implicit", [False, True])
    def test_an_unknown_authority_is_not_trusted(
        self, is_implicit: bool, certificates: Certificates, tmp_path: Path
    ) -> None:
        """Somebody else's server may have answered."""
        stranger = test_certificates(tmp_path)
        with ScriptedSmtpServer(ssl_context=stranger.server, implicit=is_implicit) as server:
            configured = replace(
                signed_in(server, certificates), tls="implicit" if is_implicit else "starttls"
            )
            [outcome] = send(configured, message())
        assert (outcome.kind, outcome.stage) == (K.CONFIG, "tls")
        assert outcome.reply.text.startswith("certificate verify failed: ")

    def test_a_certificate_for_another_host_is_not_trusted(self, tmp_path: Path) -> None:
        """A certificate is for a name."""
        other = test_certificates(tmp_path, host="mail.example.com")
        with ScriptedSmtpServer(ssl_context=other.server) as server:
            [outcome] = send(signed_in(server, other), message())
        assert (outcome.kind, outcome.stage) == (K.CONFIG, "tls")
        assert "IP address mismatch" in outcome.reply.text

    def test_stripped_starttls_is_not_fallen_for(self, certificates: Certificates) -> None:
        """Neither credentials nor mail go out when the offer is missing."""
        with ScriptedSmtpServer() as server:
            [outcome] = send(signed_in(server, certificates), message())
            lines = [line for _, way, line in server.log if way == "C"]
        assert (outcome.kind, outcome.reply.text) == (K.CONFIG, "the server does not offer STARTTLS")
        assert lines == ["EHLO client.example.com"]

    def test_credentials_without_tls_are_refused_before_connecting(self) -> None:
        """Whatever the server offers."""
        with ScriptedSmtpServer(credentials=("app", "secret")) as server:
            configured = replace(plain(server), username="app", password="secret")
            [outcome] = send(configured, message())
            assert server.sessions == 0
        assert (outcome.kind, outcome.stage) == (K.CONFIG, "auth")

    def test_a_server_that_wants_a_sign_in_is_a_matter_of_configuration(self) -> None:
        """530 at MAIL: EMAIL_HOST_USER is missing."""
        with ScriptedSmtpServer(credentials=("app", "secret")) as server:
            [outcome] = send(plain(server), message())
        assert (outcome.kind, outcome.reply.code) == (K.CONFIG, 530)

    def test_a_server_without_auth_is_a_matter_of_configuration(self, certificates: Certificates) -> None:
        """Credentials were given, so they are wanted."""
        with ScriptedSmtpServer(ssl_context=certificates.server) as server:
            [outcome] = send(signed_in(server, certificates), message())
        assert (outcome.kind, outcome.stage) == (K.CONFIG, "auth")

    def test_a_ca_file_that_is_missing_is_a_matter_of_configuration(
        self, certificates: Certificates, tmp_path: Path
    ) -> None:
        """Without it nobody can be trusted."""
        with ScriptedSmtpServer(ssl_context=certificates.server) as server:
            [outcome] = send(replace(signed_in(server, certificates), ca_file=tmp_path / "no.pem"), message())
        assert outcome.kind is K.CONFIG
        assert "no.pem" in outcome.reply.text

    def test_tls_from_the_start_on_a_starttls_port_is_explained(self, certificates: Certificates) -> None:
        """The text says which setting to change."""
        with ScriptedSmtpServer(ssl_context=certificates.server) as server:
            [outcome] = send(replace(signed_in(server, certificates), tls="implicit"), message())
        assert outcome.kind is K.CONFIG
        assert "EMAIL_TLS=starttls" in outcome.reply.text

    def test_starttls_on_a_port_with_tls_from_the_start_is_explained(
        self, certificates: Certificates
    ) -> None:
        """Both wait for each other until the time is up."""
        with ScriptedSmtpServer(ssl_context=certificates.server, implicit=True) as server:
            [outcome] = send(hasty(signed_in(server, certificates)), message())
        assert "EMAIL_TLS=implicit" in outcome.reply.text

    def test_the_password_is_in_no_repr(self) -> None:
        """A log line or a traceback may print any object."""
        assert "hunter2" not in repr(SmtpServer(host="h", port=25, username="u", password="hunter2"))


class TestProbe:
    """What `check-config` asks."""

    @pytest.mark.parametrize("is_implicit", [False, True])
    def test_each_step_tells_what_it_found(self, is_implicit: bool, certificates: Certificates) -> None:
        """And no mail is sent."""
        with ScriptedSmtpServer(
            ssl_context=certificates.server, implicit=is_implicit, credentials=("app", "secret")
        ) as server:
            configured = replace(
                signed_in(server, certificates), tls="implicit" if is_implicit else "starttls"
            )
            steps = probe(configured)
            verbs = {line.split()[0] for _, way, line in server.log if way == "C"}
        assert [(step.name, step.ok) for step in steps] == [("connect", True), ("tls", True), ("auth", True)]
        assert "certificate for 127.0.0.1, valid until " in steps[1].detail
        assert steps[2].detail == "signed in as app"
        assert verbs <= {"EHLO", "STARTTLS", "AUTH", "QUIT"}

    def test_a_server_without_tls_and_sign_in_has_one_step(self) -> None:
        """Nothing else is configured."""
        with ScriptedSmtpServer() as server:
            [step] = probe(plain(server))
        extensions = "8BITMIME, ENHANCEDSTATUSCODES, PIPELINING, SIZE"
        assert step.detail == f"127.0.0.1:{server.port} answers client.example.com and offers {extensions}"

    def test_it_stops_at_the_first_step_that_fails(self, certificates: Certificates) -> None:
        """With the reason that a message would have got."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "other")) as server:
            steps = probe(signed_in(server, certificates))
        assert [(step.name, step.ok) for step in steps] == [("connect", True), ("tls", True), ("auth", False)]
        assert steps[-1].detail == "535 5.7.8 wrong credentials"

    def test_a_certificate_that_does_not_verify_fails_the_tls_step(
        self, certificates: Certificates, tmp_path: Path
    ) -> None:
        """Also where TLS comes with the connection."""
        with ScriptedSmtpServer(ssl_context=test_certificates(tmp_path).server, implicit=True) as server:
            [step] = probe(replace(signed_in(server, certificates), tls="implicit"))
        assert (step.name, step.ok) == ("tls", False)

    def test_a_server_that_is_not_there_fails_the_first_step(self) -> None:
        """And the text says why."""
        with ScriptedSmtpServer() as server:
            pass
        [step] = probe(plain(server))
        assert (step.name, step.ok, step.detail) == ("connect", False, "connection refused")


class TestSigningIn:
    """EMAIL_AUTH, access tokens and client certificates."""

    @pytest.mark.parametrize("auth", ["plain", "login"])
    def test_the_mechanism_of_the_settings_is_used(self, auth: AuthMode, certificates: Certificates) -> None:
        """And no other."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "secret")) as server:
            [outcome] = send(replace(signed_in(server, certificates), auth=auth), message())
            [line] = [line for _, way, line in server.log if way == "C" and line.startswith("AUTH")]
        assert (outcome.kind, line.split()[1]) == (K.ACCEPTED, auth.upper())

    def test_a_mechanism_that_is_not_offered_is_our_fault(self, certificates: Certificates) -> None:
        """Nothing else is tried."""
        with ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", "secret")) as server:
            [outcome] = send(replace(signed_in(server, certificates), auth="cram-md5"), message())
        assert (outcome.kind, outcome.stage) == (K.CONFIG, "auth")
        assert "CRAM-MD5" in str(outcome)

    def test_an_access_token_that_has_expired_is_fetched_anew_once(self, certificates: Certificates) -> None:
        """The new one is kept for the sessions after it."""
        tokens = iter(["expired-token-1", "valid-token-2"])
        source = TokenSource(lambda _: next(tokens), setting="EMAIL_OAUTH_TOKEN")
        with ScriptedSmtpServer(
            ssl_context=certificates.server, credentials=("app", "valid-token-2")
        ) as server:
            configured = replace(signed_in(server, certificates), auth="xoauth2", tokens=source)
            outcomes = [*send(configured, message("a")), *send(configured, message("b"))]
        assert [outcome.kind for outcome in outcomes] == [K.ACCEPTED, K.ACCEPTED]

    def test_a_token_that_is_refused_twice_is_our_fault_and_not_shown(
        self, certificates: Certificates
    ) -> None:
        """A function that returns the same token again is not asked a third time."""
        source = TokenSource(lambda _: "refused-token", setting="EMAIL_OAUTH_TOKEN")
        script = {"auth": [Reply("535 5.7.8 no: refused-token")]}
        with ScriptedSmtpServer(script, ssl_context=certificates.server, credentials=("app", "x")) as server:
            configured = replace(signed_in(server, certificates), auth="xoauth2", tokens=source)
            [outcome] = send(configured, message())
            tries = [line for _, way, line in server.log if way == "C" and line.startswith("AUTH")]
        assert (outcome.kind, outcome.stage, len(tries)) == (K.CONFIG, "auth", 1)
        assert "refused-token" not in str(outcome)

    @pytest.mark.parametrize("has_certificate", [True, False])
    def test_a_server_may_ask_for_a_certificate(self, has_certificate: bool, tmp_path: Path) -> None:
        """Without it, TLS fails, which is our fault."""
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        client = authority.issue_cert("web.example.com")
        client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
        with ScriptedSmtpServer(ssl_context=context) as server:
            configured = replace(plain(server), tls="starttls", ca_file=tmp_path / "ca.pem")
            if has_certificate:
                configured = replace(configured, client_cert=tmp_path / "client.pem")
            [outcome] = send(configured, message())
        assert (outcome.kind is K.ACCEPTED) == has_certificate
