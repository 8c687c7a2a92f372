"""Messages as bytes: whatever text goes in, the structure that comes out is the one that was meant."""

from __future__ import annotations

import email
import email.policy
import re
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailctl.domain import validation
from mailctl.errors import InvalidInput, RenderError
from mailctl.rendering import mime
from mailctl.rendering.mime import Header

ADDRESS = "user@example.com"
ENCODED_WORD = re.compile(rb"=\?utf-8\?B\?[A-Za-z0-9+/=]*\?=")

#: Characters with a taste for what breaks headers.
SPECIALS = " \"'\\<>@,;:()[]=?\u200d\u0130é李👩"
nasty_text = st.text(st.one_of(st.characters(), st.sampled_from(SPECIALS + "\r\n\t\u202e")), max_size=140)
#: As nasty as the gate lets through.
printable_text = st.text(
    st.one_of(st.characters(exclude_categories=["C", "Zl", "Zp"]), st.sampled_from(SPECIALS)),
    min_size=1,
    max_size=120,
)
body_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


def message_with(*headers: Header, text: str = "text\n", html: str = "<p>html</p>\n") -> bytes:
    return mime.build_multipart_alternative(list(headers), text=text, html=html)


def accepted(gate, value: str) -> str:
    """Return what the gate makes of a value; values that it refuses are no examples."""
    try:
        return gate(value)
    except InvalidInput:
        assume(False)
        raise


def header_lines(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def as_modern(data: bytes):
    return email.message_from_bytes(data, policy=email.policy.default)


def as_old(data: bytes):
    return email.message_from_bytes(data, policy=email.policy.compat32)


def decoded(value: str) -> str:
    """Decode a header the way that RFC 2047 asks for: what folds a header is not part of it."""
    return str(make_header(decode_header(value.replace("\r\n", "").replace("\n", ""))))


def with_plain_line_ends(text: str) -> str:
    return re.sub(r"\r\n|\r", "\n", text)


def without_spaces(text: str) -> str:
    return "".join(text.split())


@given(printable_text)
@example("a@b.com " + "x" * 30 + " : (ceo) : " + "x" * 30 + " ; (ceo) ;")
@example('Bob "the man" \\ Smith,')
@example("Zoë  with  two  spaces")
def test_any_name_that_the_gate_accepts_leaves_one_mailbox(value: str) -> None:
    """Two parsers find one recipient and the name (the newer one is careless with spaces)."""
    name = accepted(validation.validate_display_name, value)
    data = message_with(Header.mailbox("To", ADDRESS, display_name=name))
    (modern,) = as_modern(data)["To"].addresses
    ((old_name, old_address),) = getaddresses([as_old(data)["To"]])
    assert (modern.addr_spec, without_spaces(modern.display_name)) == (ADDRESS, without_spaces(name))
    assert (old_address, decoded(old_name)) == (ADDRESS, name)


@given(printable_text)
def test_any_subject_that_the_gate_accepts_arrives_unchanged(value: str) -> None:
    """The subject that was asked for is the subject that is read, by both parsers."""
    subject = accepted(validation.validate_subject, value)
    data = message_with(Header.text("Subject", subject))
    assert as_modern(data)["Subject"] == subject
    assert decoded(as_old(data)["Subject"]) == subject


@given(name=nasty_text, subject=nasty_text)
def test_no_text_adds_a_header(name: str, subject: str) -> None:
    """Text is refused or contained; it never becomes a line of its own."""
    try:
        headers = [Header.mailbox("To", ADDRESS, display_name=name), Header.text("Subject", subject)]
        data = message_with(*headers)
    except RenderError:
        return
    assert as_modern(data).keys() == ["To", "Subject", "Content-Type"]
    assert as_old(data).keys() == ["To", "Subject", "Content-Type"]


@given(name=printable_text, subject=printable_text)
def test_encoded_words_and_their_lines_keep_to_rfc_2047(name: str, subject: str) -> None:
    """A word has at most 75 characters and stands for whole characters; its line has at most 76."""
    headers = [
        Header.mailbox("From", ADDRESS, display_name=accepted(validation.validate_display_name, name)),
        Header.text("Subject", accepted(validation.validate_subject, subject)),
    ]
    for line in header_lines(message_with(*headers)):
        words = ENCODED_WORD.findall(line)
        assert len(line) <= (mime.MAX_ENCODED_WORD_LINE if words else mime.MAX_RECOMMENDED_LINE)
        assert all(len(word) <= mime.MAX_ENCODED_WORD and decoded(word.decode()) for word in words)


def test_an_ordinary_name_and_subject_stay_readable() -> None:
    """Nothing is encoded that does not need it."""
    assert Header.mailbox("To", ADDRESS, display_name="Ada").value == "Ada <user@example.com>"
    assert Header.text("Subject", "Reset your password").value == "Reset your password"


def test_a_name_with_specials_is_quoted() -> None:
    """A comma or a dot does not end the name (RFC 5322 section 3.2.4)."""
    header = Header.mailbox("To", ADDRESS, display_name='O"Brien, Pat')
    assert header.value == '"O\\"Brien, Pat" <user@example.com>'


def test_without_a_name_the_address_is_bare() -> None:
    """No name is invented from the local part."""
    assert Header.mailbox("To", ADDRESS).value == ADDRESS


@pytest.mark.parametrize("text", ["a\r\nBcc: e@evil.com", "a\nb", "a\x00", "a\x85b", "a\u2028b", "a\ud800"])
def test_a_header_refuses_what_it_cannot_hold(text: str) -> None:
    """Even without the gate in front, a control character never reaches a header, and is not quoted back."""
    with pytest.raises(RenderError) as raised:
        Header.text("Subject", text)
    assert "evil" not in str(raised.value)


@given(text=body_text, html=body_text)
def test_both_bodies_arrive_unchanged_and_in_order(text: str, html: str) -> None:
    """Plain text first, HTML second (RFC 2046 section 5.1.4); only line ends become one kind."""
    data = message_with(text=text, html=html)
    first, second = as_modern(data).iter_parts()
    assert [first.get_content_type(), second.get_content_type()] == ["text/plain", "text/html"]
    for part, body in ((first, text), (second, html)):
        content = part.get_payload(decode=True).decode()
        assert content.replace("\r\n", "\n") == with_plain_line_ends(body)
    assert not any(part.defects for part in as_modern(data).walk())


@given(text=body_text, html=body_text)
def test_body_lines_are_short_and_end_in_crlf(text: str, html: str) -> None:
    """No line needs a mail server's mercy, and none is read differently by two of them."""
    data = message_with(text=text, html=html)
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|[^\t\r\n -~]", data) is None
    assert max(map(len, data.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Reset your password, Zoe.\n", "7bit"),
        (f"{'x' * 999}\n", "quoted-printable"),
        ("a=_b\n", "quoted-printable"),
        ("Reset your password, Zoë.\n", "quoted-printable"),
        ("パスワード\n" * 9, "base64"),
    ],
)
def test_the_shorter_encoding_is_taken(text: str, encoding: str) -> None:
    """ASCII as it is, quoted-printable for Latin text, base64 for text that it would treble."""
    first, _ = as_modern(message_with(text=text)).iter_parts()
    assert first["Content-Transfer-Encoding"] == encoding


def test_a_long_line_is_broken_softly() -> None:
    """A link of 2000 characters survives SMTP's limit on lines."""
    link = "https://app.example.com/?t=" + "x" * 2000
    first, _ = as_modern(message_with(text=link)).iter_parts()
    assert first.get_content() == link


@pytest.mark.parametrize("body", ["a\0b", "a\ud83d"])
def test_a_body_refuses_nul_and_half_characters(body: str) -> None:
    """NUL cuts messages short in some programs; a lone surrogate is no text."""
    with pytest.raises(RenderError):
        message_with(html=body)


def test_a_body_cannot_forge_the_boundary() -> None:
    """A body that holds the boundary is encoded away from it."""
    boundary = as_old(message_with(Header("X-A", "1"))).get_boundary()
    data = message_with(Header("X-A", "1"), text=f"--{boundary}--\n", html=f"--{boundary}\n")
    assert as_old(data).get_boundary() == boundary
    assert len(list(as_modern(data).iter_parts())) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"A: 1\r\nBcc: e@evil.com\r\n\r\nbody",
        b"B: 1\r\n\r\nbody",
        b"A: 1\r\nA: 2\r\n\r\nbody",
        b"A: 1\r\nno field\r\n\r\nbody",
        b"A: 1\r\n \r\n\r\nbody",
        b"A: \xe9\r\n\r\nbody",
        b"A: 1\n\r\n\r\nbody",
        b"A: 1\r\n\r\nbo\ndy",
        b"A: 1\r\n\r\nbo\rdy",
        b"A: 1\r\n\r\nbo\0dy",
        b"A: 1\r\n\r\nbod\xc3\xbf",
        b"A: " + b"x" * 999 + b"\r\n\r\nbody",
        b"A: 1\r\n\r\n" + b"x" * 999,
    ],
)
def test_a_message_that_is_not_what_was_meant_is_refused(data: bytes) -> None:
    """The last check before a message leaves looks at its bytes alone, and does not quote them."""
    with pytest.raises(RenderError) as raised:
        mime.verify(data, names=["A"])
    assert "evil" not in str(raised.value)


def test_a_message_that_is_what_was_meant_passes() -> None:
    """Folded lines belong to their field."""
    mime.verify(b"A: 1\r\n 2\r\nB: 3\r\n\r\nbody\r\n", names=["A", "B"])


def test_a_header_that_is_not_ascii_is_never_written() -> None:
    """A field made past `text` and `mailbox` is caught by the finished bytes or made harmless."""
    with pytest.raises(RenderError):
        message_with(Header("X-A", "1\r\nBcc: e@evil.com"))


def test_the_message_id_is_stable_and_keeps_the_id_to_itself() -> None:
    """The same email has the same Message-ID at every attempt (RFC 5322 section 3.6.4)."""
    first = mime.make_message_id("secret-id", domain="example.com")
    assert first == mime.make_message_id("secret-id", domain="example.com")
    assert first != mime.make_message_id("other-id", domain="example.com")
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", first)
