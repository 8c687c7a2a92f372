"""Every hostile value through every door that takes its field, and what the mail server saw of the rest."""

from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import ValidationError

from mailctl import web
from mailctl.cli.main import main
from mailctl.domain import validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.models import Envelope
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, ExitCode, InvalidInput
from mailctl.smtp.capture import CaptureSender
from tests.emails import HEADERS
from tests.hostile.doors import DOORS, TO
from tests.hostile.others import OTHERS
from tests.hostile.quiet_doors import QUIET, is_meant
from tests.hostile.settings_doors import SETTINGS
from tests.hostile.site import Site, header_of, headers_of
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.domain.models import Email
    from tests.smtp_server import AcceptedMessage

#: The property of a report that carries rows of the table.
PROPERTY = "hostile"
LISTED = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "hostile.jsonl").read_text("utf-8").splitlines()
]
VALUES = [(line["field"], line["value"], line["expect"]) for line in LISTED] + OTHERS


def values_of(field: str) -> list[tuple[Any, str]]:
    return [(value, expect) for each, value, expect in VALUES if each == field]


def through_doors() -> list[Any]:
    return [
        pytest.param(field, door, id=f"{field}-{door}") for field, doors in DOORS.items() for door in doors
    ]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A process of its own, as it were: settings, log, mail server."""
    with ScriptedSmtpServer() as smtp:
        site = Site(tmp_path, smtp, monkeypatch)
        yield site
        site.close()


def test_the_list_is_whole() -> None:
    """All of it is used; a field that is added is not overlooked."""
    assert len(LISTED) == 193
    assert {field for field, _, _ in VALUES} == DOORS.keys() | SETTINGS.keys() | {"attachment_filename"}


@pytest.mark.parametrize(("field", "door"), through_doors())
def test_a_value_is_refused_or_goes_out_as_meant(
    field: str, door: str, site: Site, record_property: Any
) -> None:
    """A hostile one is refused with a reason, a hostile name is left out; a good one arrives exactly."""
    verdicts: Counter[str] = Counter()
    for value, expect in values_of(field):
        seq = site.last_seq()
        is_refused = DOORS[field][door](site, value)
        recorded = [email for email in site.since(seq) if email.state is not State.FAILED]
        if is_refused:
            assert not recorded, (value, recorded)
            verdicts["refused" if expect == "reject" else "mistake"] += 1
            assert expect == "reject" or field == "email", (door, value)
            continue
        [email] = recorded
        message = site.deliver(email)
        check_wire(site, email, message, field=field, value=value)
        is_shown = field == "first_name" and expect == "reject"
        verdicts["without" if is_shown else "sent" if expect == "accept" else "mistake"] += 1
        if is_shown:
            assert_not_in(message, value)
        else:
            assert expect == "accept", (door, value)
    record_property(PROPERTY, row(f"{field}, {door}", verdicts))
    assert not verdicts["mistake"]


def row(name: str, verdicts: Counter[str]) -> tuple[str, ...]:
    counts = (verdicts.total(), *(verdicts[each] for each in ("refused", "sent", "without", "mistake")))
    return (name, *map(str, counts))


def check_wire(site: Site, email: Email, message: AcceptedMessage, *, field: str, value: str) -> None:
    """The envelope and every header are what was meant, to the byte."""
    expected = validate_address(value) if field == "email" else email.to
    assert message.recipients == (expected,)
    assert message.sender == "noreply@example.com"
    commands = [line for _, way, line in site.smtp.log if way == "C"]
    start = max(number for number, line in enumerate(commands) if line.upper().startswith("MAIL FROM:"))
    assert commands[start].partition(" SIZE=")[0] == "MAIL FROM:<noreply@example.com>"
    assert commands[start + 1] == f"RCPT TO:<{expected}>"
    assert commands[start + 2] == "DATA"
    data = message.data
    assert [name for name, _ in headers_of(data)] == HEADERS
    to = header_of(data, "To")
    assert to == expected or to.endswith(f" <{expected}>")
    assert header_of(data, "From") == "Example <noreply@example.com>"
    assert not any(byte > 127 or (byte < 32 and byte not in b"\r\n\t") for byte in data)
    assert max(map(len, data.split(b"\r\n"))) <= 998
    if field == "subject":
        assert header_of(data, "Subject") == value
    if field == "locale":
        assert header_of(data, "Content-Language") == value
    if field in ("display_name", "first_name") and to != expected:
        shown = to.removesuffix(f" <{expected}>")
        unquoted = shown[1:-1].replace('\\"', '"').replace("\\\\", "\\") if shown.startswith('"') else shown
        assert unquoted == validation.safe_greeting_name(value)


def assert_not_in(message: AcceptedMessage, name: str) -> None:
    """No part shows the name, nor what a mail program would make a link of."""
    assert header_of(message.data, "To") == message.recipients[0]
    for word in (name, "evil", "javascript", "{{", "1000000"):
        if word and len(word) > 3:
            assert word not in message.text.replace(TO, ""), word


@pytest.mark.parametrize(
    ("field", "door"), [(field, door) for field, doors in QUIET.items() for door in doors]
)
def test_a_door_that_sends_nothing_takes_the_same(
    field: str, door: str, site: Site, record_property: Any
) -> None:
    """What is refused where emails are made is refused here, and nothing is recorded."""
    verdicts: Counter[str] = Counter()
    for value, expect in values_of(field):
        if is_meant(door, value):
            continue
        is_refused = QUIET[field][door](site, value)
        assert is_refused == (expect == "reject"), (door, value)
        verdicts["refused" if is_refused else "sent"] += 1
    assert not site.since(0)
    record_property(PROPERTY, row(f"{field}, {door}", verdicts))


@pytest.mark.parametrize("door", ["list", "GET /api/emails"])
def test_a_filter_finds_what_it_names_and_no_more(door: str, site: Site, record_property: Any) -> None:
    """Whatever it is asked for, it answers, or says what is wrong with the question."""
    main(["send", "email", "--subject=Hello", "--set=body=x", f"--email={TO}"])
    texts = [value for _, value, _ in VALUES if isinstance(value, str) and value not in TO]
    names = ("to", "error", "user_id", "queue", "campaign", "since", "until", "state", "kind", "after")
    verdicts: Counter[str] = Counter()
    with asking(site, door) as ask:
        for number, text in enumerate(texts):
            for name in ("to", names[number % len(names)]):
                verdicts[ask(name, text)] += 1
        assert ask("to", TO) == "found"
    assert not verdicts["found"]
    record_property(PROPERTY, row(f"filters, {door}", verdicts))


@contextmanager
def asking(site: Site, door: str) -> Iterator[Callable[[str, str], str]]:
    """Gives what asks for emails: found, sent (an empty answer) or refused."""
    key = site.runtime.api_keys.create("hostile").plaintext
    app = httpx.ASGITransport(web.create_app(site.settings))
    headers = {"Authorization": f"Bearer {key}"}

    async def get(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=app, base_url="http://localhost", headers=headers) as client:
            return await client.get(path)

    def ask_web(name: str, text: str) -> str:
        answer = site.run(get(f"/api/emails?{name}={quote(text, errors='surrogatepass')}"))
        assert answer.status_code in (200, 400, 404, 422), (name, text, answer.status_code)
        if answer.status_code != 200:
            return "refused"
        is_asked = bool(text.strip())
        return "found" if is_asked and TO in answer.text else "sent"

    def ask_command(name: str, text: str) -> str:
        capture = io.StringIO()
        with redirect_stdout(capture), redirect_stderr(io.StringIO()):
            code = main(["list", f"--{name.replace('_', '-')}={text}", "--json"])
        assert code in (ExitCode.DONE, ExitCode.USAGE, ExitCode.NOT_FOUND), (name, text, code)
        is_asked = bool(text.strip())
        return "refused" if code else "found" if is_asked and TO in capture.getvalue() else "sent"

    yield ask_web if door.startswith("GET") else ask_command


@pytest.mark.parametrize(
    ("field", "name"), [(field, name) for field, doors in SETTINGS.items() for name in doors]
)
def test_a_setting_is_refused_or_stands_in_its_header(field: str, name: str, record_property: Any) -> None:
    """A hostile one stops the start; a good one is in its header and in no other."""
    compose, header = SETTINGS[field][name]
    verdicts: Counter[str] = Counter()
    for value, expect in values_of(field):
        if value == "" and name not in ("MAILCTL_HEADERS", "MAILCTL_LINK_MINT"):
            continue  # an empty setting is one that is not set
        try:
            envelope = compose(value)
        except (ConfigurationError, ValidationError) as error:
            if expect == "accept":
                pytest.fail(f"{name} {value!r}: {error}")
            verdicts["refused"] += 1
            continue
        assert expect == "accept", (name, value)
        verdicts["sent"] += 1
        names = [each for each, _ in headers_of(envelope.data)]
        assert len(names) == len(set(names))
        if header:
            assert_stands(envelope, header, value, field=field)
    record_property(PROPERTY, row(f"{field}, {name}", verdicts))


def assert_stands(envelope: Envelope, header: str, value: str, *, field: str) -> None:
    shown = header_of(envelope.data, header)
    if field in ("email", "reply_to"):
        assert shown.removeprefix("x <").removesuffix(">") == validate_address(value)
    elif field == "header_value":
        assert shown == value
    else:
        name = shown.removesuffix(" <noreply@example.com>")
        unquoted = name[1:-1].replace('\\"', '"').replace("\\\\", "\\") if name.startswith('"') else name
        assert unquoted == value


@pytest.mark.parametrize(("value", "expect"), values_of("attachment_filename"))
def test_a_captured_email_stays_in_its_folder(value: str, expect: str, tmp_path: Path) -> None:
    """mailctl attaches nothing; the one file name that it makes is safe, whatever it is made from."""
    import asyncio

    if expect == "accept":
        assert validation.validate_file_name(value) == value
    else:
        with pytest.raises(InvalidInput):
            validation.validate_file_name(value)
    envelope = Envelope(
        sender="a@example.com", recipient=TO, message_id=f"<{value}@x>", data=b"x", subject="x"
    )
    asyncio.run(CaptureSender(tmp_path / "mail").send(envelope))
    [file] = (tmp_path / "mail").iterdir()
    assert validation.validate_file_name(file.name) == file.name


def test_a_name_hijacks_no_envelope(site: Site) -> None:
    """What makes FastAPI-Mail send to the attacker reaches only the recipient that the service meant."""
    from mailctl.domain.catalog import WELCOME

    names = ("x\r,attacker@evil.com,", "attacker@evil.com\r", 'x", <attacker@evil.com>, "y@')
    for number, name in enumerate(names):
        seq = site.last_seq()
        site.receive(WELCOME, {"user_data": {"email": TO, "first_name": name}}, task_id=f"hijack-{number}")
        [email] = site.since(seq)
        message = site.deliver(email)
        assert message.recipients == (TO,)
        assert header_of(message.data, "To") == TO
        assert b"evil" not in message.data
    assert not any("evil" in line for _, _, line in site.smtp.log)
