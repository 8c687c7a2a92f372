"""Values are read from the JSON of strangers, with the expected type or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mailctl.feedback.providers import payload
from mailctl.feedback.providers.payload import Fields
from mailctl.feedback.providers.webhook import WebhookRefused

NESTED = {"id": 7}
MEMBERS = Fields(
    {
        "text": " a\u2028b\x00 ",
        "number": 7,
        "share": 1.5,
        "yes": True,
        "none": None,
        "list": ["a", 7, "b"],
        "objects": [NESTED, "x"],
        "object": NESTED,
        "json": json.dumps(NESTED),
        "broken": "{",
        "lone": "\ud800",
    }
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("text", "a b"), ("number", "7"), ("share", "1.5"), ("yes", None), ("none", None), ("list", None)],
)
def test_a_text_is_one_printable_line(name: str, expected: str | None) -> None:
    """Or a number; what is something else is missing."""
    assert MEMBERS.text(name) == expected
    assert MEMBERS.text("missing") is None


def test_a_text_can_be_stored_and_has_a_length() -> None:
    """A database refuses half of a surrogate pair."""
    text = MEMBERS.text("lone")
    assert text is not None
    assert text.encode() == b"?"
    assert payload.printable("x" * 9, longest=4) == "xxxx"


@pytest.mark.parametrize(
    ("value", "expected"), [(7, 7), ("42", 42), ("4.2", None), ("-1", None), (True, None), ("٣", None)]
)
def test_a_whole_number_has_ascii_digits_alone(value: object, expected: int | None) -> None:
    """As text too."""
    assert Fields({"n": value}).whole("n") == expected


def test_values_of_another_type_are_empty() -> None:
    """So that readers need no question for each."""
    assert MEMBERS.object("object").text("id") == MEMBERS.nested("json").text("id") == "7"
    assert MEMBERS.object("text").text("id") is MEMBERS.nested("broken").text("id") is None
    assert [each.text("id") for each in MEMBERS.objects("objects")] == ["7"]
    assert (MEMBERS.objects("text"), MEMBERS.texts("list"), MEMBERS.texts("text")) == ([], ["a", "b"], [])
    assert (MEMBERS.flag("yes"), MEMBERS.flag("number")) == (True, None)
    assert MEMBERS.diagnostic("missing", "text") == "a b"
    assert MEMBERS.diagnostic("missing") == ""


@pytest.mark.parametrize("value", [[], "x", 7, None])
def test_what_is_no_object_is_refused(value: object) -> None:
    """So is one without a member that has to be there."""
    with pytest.raises(WebhookRefused):
        Fields(value)
    with pytest.raises(WebhookRefused):
        MEMBERS.required("missing")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Also what is nested too deep, or a number too long to read."""
    with pytest.raises(WebhookRefused):
        payload.load_json(body)


def test_one_event_is_a_list_of_one() -> None:
    """Providers send either; anything else is refused."""
    assert payload.load_list(b'{"a": 1}') == payload.load_list(b'[{"a": 1}]') == [{"a": 1}]
    with pytest.raises(WebhookRefused):
        payload.load_list(b'"a"')


class TestTimes:
    """Aware and in UTC, or missing."""

    @pytest.mark.parametrize("value", [1772625600, "1772625600", 1772625600.0])
    def test_seconds_since_1970(self, value: object) -> None:
        """As a number or as text."""
        assert Fields({"t": value}).seconds("t") == datetime(2026, 3, 4, 12, tzinfo=UTC)

    @pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "1e99", None, True])
    def test_impossible_seconds(self, value: object) -> None:
        """Whatever stands there."""
        assert Fields({"t": value}).seconds("t") is None

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-03-04T13:00:00.123456789+01:00", datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)),
            ("2026-03-04T12:00:00Z", datetime(2026, 3, 4, 12, tzinfo=UTC)),
            ("2026-03-04T12:00:00", None),
            ("0001-01-01T00:00:00+23:00", None),
            ("yesterday", None),
        ],
    )
    def test_iso_8601(self, text: str, expected: datetime | None) -> None:
        """With its offset: a local time of the provider may be anything."""
        assert Fields({"t": text}).iso("t") == expected


@pytest.mark.parametrize(
    ("text", "code", "enhanced"),
    [
        ("550 5.1.1 no", 550, "5.1.1"),
        ("smtp; 421-4.7.0 later", 421, "4.7.0"),
        ("from 192.0.2.250.1 at 1.5.1.1.9", None, None),
        ("\u0665\u0665\u0660", None, None),
    ],
)
def test_codes_are_found_in_a_text(text: str, code: int | None, enhanced: str | None) -> None:
    """Parts of other numbers are none."""
    assert (payload.reply_code_in(text), payload.enhanced_code_in(text)) == (code, enhanced)


@pytest.mark.parametrize(
    ("text", "expected"), [("<a@b>", "a@b"), (" a@b ", "a@b"), ("<>", None), (None, None)]
)
def test_a_message_id_has_no_brackets(text: str | None, expected: str | None) -> None:
    """Some providers leave them out."""
    assert payload.message_id_from(text) == expected


def test_the_id_of_an_event_is_the_same_for_each_repetition() -> None:
    """That of the provider if it gives a short one; else a hash of what tells the event from others."""
    assert payload.event_id("e-1") == "e-1"
    assert len(payload.event_id("x" * 500)) == 64
    assert payload.event_id("a", "b") == payload.event_id("a", "b") != payload.event_id("ab", "")
