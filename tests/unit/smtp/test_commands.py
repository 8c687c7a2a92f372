"""Commands and messages as octets: nothing in them can become another command."""

from __future__ import annotations

import pytest

from mailctl.smtp.commands import dot_stuff, mail_command, rcpt_command, with_crlf


@pytest.mark.parametrize(
    ("extensions", "sent"),
    [
        ((), b"MAIL FROM:<a@example.com>\r\n"),
        (("size",), b"MAIL FROM:<a@example.com> SIZE=7\r\n"),
        (("8bitmime", "size"), b"MAIL FROM:<a@example.com> SIZE=7 BODY=8BITMIME\r\n"),
    ],
)
def test_mail_has_the_parameters_that_the_server_offers(extensions: tuple[str, ...], sent: bytes) -> None:
    """Others would be refused."""
    assert mail_command("a@example.com", size=7, extensions=extensions) == sent


def test_rcpt_names_one_recipient() -> None:
    """In angle brackets."""
    assert rcpt_command("b@example.com") == b"RCPT TO:<b@example.com>\r\n"


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n"),
        (b"a\nb", b"a\r\nb\r\n.\r\n"),
        (b".a\r\n..b\r\n.\r\nc.\r\n", b"..a\r\n...b\r\n..\r\nc.\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
    ],
)
def test_a_body_cannot_end_itself(data: bytes, sent: bytes) -> None:
    """Leading dots are doubled, and line ends are CRLF (RFC 5321 section 4.5.2)."""
    assert dot_stuff(with_crlf(data)) == sent


@pytest.mark.parametrize(
    "address", ["a b@example.com", "a@b> SIZE=0", "a@b\r\nRCPT TO:<c@d>", "", "é@example.com"]
)
def test_an_address_cannot_extend_a_command(address: str) -> None:
    """Nor does the error repeat it."""
    for build in (rcpt_command, lambda sender: mail_command(sender, size=0, extensions=())):
        with pytest.raises(ValueError, match="not one plain address") as caught:
            build(address)
        assert "example" not in str(caught.value)


def test_reports_are_asked_for_where_the_server_offers_them() -> None:
    """RFC 3461: only headers come back, and the recipient's address, encoded, as it was given."""
    mail = mail_command("b+token@example.com", size=1, extensions={"dsn"}, envelope_id="token")
    assert mail == b"MAIL FROM:<b+token@example.com> RET=HDRS ENVID=token\r\n"
    rcpt = rcpt_command("a+b=c@example.com", extensions={"dsn"}, notify="FAILURE,DELAY")
    assert rcpt == (
        b"RCPT TO:<a+b=c@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb+3Dc@example.com\r\n"
    )


def test_no_reports_are_asked_for_otherwise() -> None:
    """The server does not know the parameters, or there is no bounce address."""
    for extensions, token in ((set[str](), "token"), ({"dsn"}, "")):
        mail = mail_command("b@example.com", size=1, extensions=extensions, envelope_id=token)
        assert mail == b"MAIL FROM:<b@example.com>\r\n"
        rcpt = rcpt_command("a@example.com", extensions=extensions, notify="FAILURE" if token else "")
        assert rcpt == b"RCPT TO:<a@example.com>\r\n"
