"""What commands read from their arguments, stdin and files."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.cli.arguments import (
    check_address,
    open_csv_file,
    parse_period,
    parse_range,
    parse_send_time,
    read_ids,
    read_input_file,
    read_tokens,
    read_variables,
    split_values,
)
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

RESET, NEW_IP = BUILT_IN_KINDS["reset"], BUILT_IN_KINDS["new-ip"]


def set_stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let stdin be a pipe with this text."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


class TestReadIds:
    def test_ids_are_trimmed_and_kept_once(self) -> None:
        """In the order in which they were given."""
        assert read_ids(["b", " a ", "b"]) == ["b", "a"]

    def test_a_dash_stands_for_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One id per line; blank lines and comments are skipped."""
        set_stdin(monkeypatch, "b\n\n# none\nc  # the third\n")
        assert read_ids(["a", "-", "b"]) == ["a", "b", "c"]

    def test_json_lines_give_their_task_id(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Objects without one are skipped, and what is no JSON is taken as an id that nobody knows."""
        set_stdin(monkeypatch, '{"task_id": "a#1"}\n{"campaign": "spring"}\n{"task_id": 7}\n{broken\n')
        assert read_ids(["-"]) == ["a#1", '{"task_id": 7}', "{broken"]


class TestReadTokens:
    def test_the_environment_gives_them_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without any, the email gets links of mailctl's own."""
        assert read_tokens(RESET, from_stdin=False) == {}
        monkeypatch.setenv("MAILCTL_TOKEN", "secret")
        assert read_tokens(RESET, from_stdin=False) == {"token": "secret"}

    def test_stdin_gives_one_per_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In the order of the links of the kind."""
        set_stdin(monkeypatch, "allow\nblock\n")
        assert list(read_tokens(NEW_IP, from_stdin=True).values()) == ["allow", "block"]

    def test_some_are_not_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Half of the links would not work."""
        set_stdin(monkeypatch, "allow\n")
        with pytest.raises(InvalidInput, match="is missing"):
            read_tokens(NEW_IP, from_stdin=True)


class TestReadVariables:
    def test_the_value_is_all_that_follows_the_first_equals_sign(self) -> None:
        """It may be empty."""
        assert read_variables(["a=b=c", "d="]) == {"a": "b=c", "d": ""}

    @pytest.mark.parametrize("given", [["title"], ["=x"], ["a=1", "a=2"]])
    def test_other_forms_are_refused(self, given: list[str]) -> None:
        """No name, no value, or the same name twice."""
        with pytest.raises(InvalidInput, match="--set"):
            read_variables(given)


class TestFiles:
    def test_a_dash_stands_for_stdin(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As bytes, or as text."""
        path = tmp_path.joinpath("-").relative_to(tmp_path)
        set_stdin(monkeypatch, "email\n")
        assert read_input_file(path, field="FILE") == b"email\n"
        set_stdin(monkeypatch, "email\n")
        with open_csv_file(path) as stream:
            assert stream.read() == "email\n"

    def test_a_byte_order_mark_is_not_part_of_the_header(self, tmp_path: Path) -> None:
        """Spreadsheets write one."""
        (tmp_path / "users.csv").write_text("email\n", encoding="utf-8-sig")
        with open_csv_file(tmp_path / "users.csv") as stream:
            assert stream.read() == "email\n"

    def test_an_unreadable_file_is_named(self, tmp_path: Path) -> None:
        """Missing, a folder, or not text."""
        (tmp_path / "latin.csv").write_bytes(b"caf\xe9")
        for name in ("missing.csv", "", "latin.csv"):
            with (
                pytest.raises(InvalidInput, match="cannot be read"),
                open_csv_file(tmp_path / name) as stream,
            ):
                stream.read()
        with pytest.raises(InvalidInput, match=r"^FILE .*cannot be read"):
            read_input_file(tmp_path / "missing.csv", field="FILE")


class TestParseSendTime:
    def test_it_is_a_time_or_a_duration(self) -> None:
        """None means now."""
        tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        assert parse_send_time(at=None, after=None) is None
        assert parse_send_time(at=tomorrow.isoformat(), after=None) == tomorrow
        after = parse_send_time(at=None, after="24h")
        assert after is not None
        assert after >= tomorrow

    def test_both_are_refused(self) -> None:
        """They would contradict each other."""
        with pytest.raises(InvalidInput, match="cannot be combined"):
            parse_send_time(at="2030-01-01", after="1h")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3", (3, 3)),
        ("=3", (3, 3)),
        (">2", (3, None)),
        (">=2", (2, None)),
        ("<2", (None, 1)),
        ("<= 1", (None, 1)),
    ],
)
def test_a_number_may_have_a_sign(text: str, found: tuple[int | None, int | None]) -> None:
    """As in --attempts '>2'."""
    assert parse_range(text, field="--attempts") == found


@pytest.mark.parametrize("text", ["", "many", "2..3", "> 2 3", "-1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(InvalidInput, match="is not a number"):
        parse_range(text, field="--attempts")


def test_several_values_may_stand_in_one() -> None:
    """Each counts once, whatever is between the commas."""
    assert split_values(["failed, held", "held", ",sent"]) == ["failed", "held", "sent"]
    assert split_values(None) == []


def test_a_period_has_two_ends() -> None:
    """Given one by one or together, and not both ways."""
    day = ("2026-03-01T10:00Z", "2026-03-01T11:00Z")
    assert parse_period(None, None) == (None, None)
    assert parse_period(*day) == parse_period(None, None, "..".join(day))
    for given in (("1h", None, "2h..1h"), (None, None, "10:00"), (None, None, "..10:00")):
        with pytest.raises(InvalidInput, match="--between"):
            parse_period(*given)


@pytest.mark.parametrize("given", [("1h", "2h", None), (None, None, "10:30..10:00")])
def test_a_period_that_ends_before_it_begins_is_refused(
    given: tuple[str | None, str | None, str | None],
) -> None:
    """It would be empty, and look as if nothing had happened."""
    with pytest.raises(InvalidInput, match="ends before the period begins"):
        parse_period(*given)


def test_an_address_that_is_none_is_quoted() -> None:
    """With the option that it was given to."""
    assert check_address("ada@example.com", name="--email") == "ada@example.com"
    assert check_address(None, name="--email") is None
    with pytest.raises(InvalidInput, match=r"^--email 'foo' is not a valid email address: it has no @-sign"):
        check_address("foo", name="--email")
