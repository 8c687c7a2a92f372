"""Parsing and formatting of times, durations, rates and shares."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import InvalidInput
from mailctl.timefmt import (
    TimeStyle,
    format_age,
    format_campaign_rate,
    format_duration,
    format_elapsed,
    format_exact_duration,
    format_iso,
    format_latency,
    format_lifetime,
    format_long_time,
    format_milliseconds,
    format_optional_time,
    format_rate,
    format_remaining,
    format_share,
    format_time,
    format_time_heading,
    parse_duration,
    parse_future_time,
    parse_past_time,
    parse_rate,
    parse_share,
    pluralize,
    seconds_since,
    showing_times,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.mark.parametrize(
    "now", [datetime(2026, 11, 28, 23, 59, tzinfo=UTC), datetime(2031, 2, 28, tzinfo=UTC)]
)
@pytest.mark.parametrize("parse", [parse_future_time, parse_past_time])
def test_the_example_of_a_time_is_accepted(parse: Callable[..., datetime], now: datetime) -> None:
    """In whatever year: a time to come is at most a year ahead."""
    with pytest.raises(InvalidInput) as caught:
        parse("tomorrow", field="--at", now=now)
    examples = re.findall(r"\d{4}-\S+Z?(?=[ .])", caught.value.fix)
    assert examples
    for example in examples:
        moment = parse(example, field="--at", now=now)
        assert (moment > now) is (parse is parse_future_time)


NOW = datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (TimeStyle.SECOND, "2026-03-01 09:05:07Z"),
        (TimeStyle.MINUTE, "2026-03-01 09:05Z"),
        (TimeStyle.DATE, "2026-03-01"),
        (TimeStyle.DAY_SECOND, "03-01 09:05:07Z"),
        (TimeStyle.CLOCK, "09:05:07Z"),
        (TimeStyle.SENTENCE, "2026-03-01 09:05:07 UTC"),
        (TimeStyle.SENTENCE_CLOCK, "09:05 UTC"),
        (TimeStyle.LABEL, "03-01 09:05"),
        (TimeStyle.LABEL_CLOCK, "09:05"),
        (TimeStyle.FILE_NAME, "20260301T090507Z"),
    ],
)
def test_a_time_is_formatted_in_utc(style: TimeStyle, text: str) -> None:
    """Whatever its time zone."""
    assert format_time(NOW, style) == text
    assert format_time(NOW.astimezone(timezone(timedelta(hours=5))), style) == text


def test_the_usual_style_is_to_the_second() -> None:
    """A missing time is formatted as an empty text."""
    assert format_time(NOW) == format_optional_time(NOW) == "2026-03-01 09:05:07Z"
    assert format_optional_time(None) == ""


def test_times_for_programs_and_for_readers_of_emails() -> None:
    """ISO 8601 with Z, and the day in words."""
    assert format_iso(NOW) == "2026-03-01T09:05:07Z"
    assert format_iso(NOW.replace(microsecond=250_000)) == "2026-03-01T09:05:07.250000Z"
    assert format_long_time(NOW) == "1 March 2026, 09:05 UTC"


@pytest.mark.parametrize(
    ("seconds", "duration", "elapsed", "latency"),
    [
        (-5, "0 s", "-5000 ms", "-5000 ms"),
        (0.0124, "0 s", "12 ms", "12 ms"),
        (3.456, "3 s", "3.5 s", "3.46 s"),
        (75, "75 s", "1m15s", "75 s"),
        (89.4, "89 s", "1m29s", "89.4 s"),
        (300, "5 min", "5m00s", "5 min"),
        (7500, "2 h", "2h05m", "2 h"),
        (47 * 3600, "2 days", "47h00m", "2 days"),
        (50 * 3600, "2 days", "2d02h", "2 days"),
    ],
)
def test_durations(seconds: float, duration: str, elapsed: str, latency: str) -> None:
    """In one unit for sentences, in two for columns of elapsed times, finer for latencies."""
    assert format_duration(timedelta(seconds=seconds)) == format_age(seconds) == duration
    assert (format_elapsed(seconds), format_latency(seconds)) == (elapsed, latency)


def test_missing_durations() -> None:
    """They are shown as nothing, or as a dash in columns."""
    assert (format_age(None), format_elapsed(None), format_latency(None)) == ("", "-", "-")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (86400, "1 d"), (90000, "25 h")],
)
def test_an_exact_duration_is_in_its_largest_whole_unit(seconds: int, text: str) -> None:
    """Nothing is rounded."""
    assert format_exact_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("minutes", "text"), [(60, "1 hour"), (90, "90 minutes"), (1, "1 minute"), (1440, "24 hours")]
)
def test_the_lifetime_of_a_link_is_in_hours_or_minutes(minutes: int, text: str) -> None:
    """As the text of an email says it."""
    assert format_lifetime(timedelta(minutes=minutes)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3600, "1 hour"),
        (3598, "1 hour"),
        (3540, "59 minutes"),
        (24 * 3600 - 20, "24 hours"),
        (23 * 3600 + 2400, "23 hours"),
        (5400, "90 minutes"),
        (20, "1 minute"),
        (-5, "1 minute"),
    ],
)
def test_what_remains_is_rounded(seconds: int, text: str) -> None:
    """An email is sent some seconds after its token was made."""
    assert format_remaining(timedelta(seconds=seconds)) == text


def test_numbers() -> None:
    """Milliseconds have one decimal, small rates two significant digits."""
    assert format_milliseconds(0.00142) == "1.4 ms"
    assert (format_rate(12.4), format_rate(0.254)) == ("12", "0.25")
    assert (format_share(0.0351), format_share(None)) == ("3.5%", "-")
    assert (pluralize(1, "email"), pluralize(2, "email")) == ("1 email", "2 emails")


def test_an_age_is_never_negative() -> None:
    """The clocks of two hosts may differ."""
    times = [NOW - timedelta(seconds=1 / 3), NOW + timedelta(seconds=1), None]
    assert [seconds_since(at, now=NOW) for at in times] == [0.333, 0.0, None]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h30m", 9000), ("1d", 86400), ("366d", 366 * 86400)]
)
def test_a_duration_is_parsed(text: str, seconds: int) -> None:
    """Its units add up."""
    assert parse_duration(text, field="--in") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "s", "1w", "-5m", "367d", "1.5h", "9" * 100 + "s"])
def test_other_durations_are_refused(text: str) -> None:
    """The error names the field and shows no more of the text than needed."""
    with pytest.raises(InvalidInput, match="--in") as caught:
        parse_duration(text, field="--in")
    assert len(caught.value.message) < 200


def test_rates_and_shares_are_parsed() -> None:
    """A rate is per second, a share is from 0 to 1."""
    assert [parse_rate(text, field="--rate") for text in ("50/s", "3000/m", "3600/h")] == [50, 50, 1]
    assert [parse_share(text, field="--max") for text in ("5%", "0.05", "100%")] == [0.05, 0.05, 1]


@pytest.mark.parametrize("text", ["", "0/s", "50", "50/d", "-1/s"])
def test_other_rates_are_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidInput, match="not a rate"):
        parse_rate(text, field="--rate")


@pytest.mark.parametrize("text", ["", "101%", "2", "-1%", "x"])
def test_other_shares_are_refused(text: str) -> None:
    """A share is at most the whole."""
    with pytest.raises(InvalidInput, match="not a share"):
        parse_share(text, field="--max")


def test_a_time_that_has_passed_is_no_time_to_send() -> None:
    """Nor is one more than a year ahead."""
    with pytest.raises(InvalidInput, match="has passed"):
        parse_future_time("2020-01-01T00:00Z", field="--at", now=NOW)
    with pytest.raises(InvalidInput, match="a year ahead"):
        parse_future_time("2030-01-01T00:00Z", field="--at", now=NOW)


def test_a_time_in_the_past_may_be_a_duration() -> None:
    """It counts back from now."""
    assert parse_past_time("24h", field="--since", now=NOW) == NOW - timedelta(days=1)
    assert parse_past_time("2026-02-01T00:00Z", field="--since", now=NOW) == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host whose local time is an hour ahead of UTC in winter."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("today", "2026-02-28T23:00+00:00"),
        ("yesterday", "2026-02-27T23:00+00:00"),
        ("10:02", "2026-03-01T09:02+00:00"),
        ("9:02:03", "2026-03-01T08:02:03+00:00"),
        ("13:01", "2026-02-28T12:01+00:00"),
        ("10:05:07", "2026-03-01T09:05:07+00:00"),
    ],
)
@pytest.mark.usefixtures("in_berlin")
def test_days_and_times_of_day_are_local(text: str, at: str) -> None:
    """A time of day is the last one that has passed."""
    assert parse_past_time(text, field="--since", now=NOW) == datetime.fromisoformat(at)


@pytest.mark.parametrize("text", ["25:00", "10:61", "1:2", "tomorrow"])
def test_no_other_word_is_a_time(text: str) -> None:
    """It is refused with an example."""
    with pytest.raises(InvalidInput, match="is not a time"):
        parse_past_time(text, field="--since", now=NOW)


@pytest.mark.usefixtures("in_berlin")
def test_local_times_name_their_zone() -> None:
    """Names of files and charts stay in UTC; so does everything else by default."""
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert (format_time(at), format_time_heading("sent")) == ("2026-07-01 12:00:00Z", "sent")
    with showing_times(is_local=True):
        assert format_time(at) == "2026-07-01 14:00:00 CEST"
        assert format_time(at.replace(month=1), TimeStyle.SENTENCE_CLOCK) == "13:00 CET"
        assert format_time(at, TimeStyle.FILE_NAME) == "20260701T120000Z"
        assert format_time_heading("sent") == "sent (local)"
    assert format_time(at) == "2026-07-01 12:00:00Z"


@pytest.mark.usefixtures("in_berlin")
def test_a_time_that_this_zone_does_not_have_is_in_utc() -> None:
    """Such as the last one of all, which is a day later east of Greenwich."""
    with showing_times(is_local=True):
        assert format_time(datetime.max.replace(tzinfo=UTC)) == "9999-12-31 23:59:59Z"


def test_a_host_in_utc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local times are then no others."""
    with showing_times(is_local=True):
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        assert format_time(NOW).endswith("Z")


@pytest.mark.parametrize("text", ["50/s", "90/m", "7/h"])
def test_the_rate_of_a_campaign_can_be_given_again(text: str) -> None:
    """It is shown as it was given."""
    assert format_campaign_rate(parse_rate(text, field="--rate")) == text


def test_no_rate_is_no_limit() -> None:
    """Of a campaign; an odd one is rounded."""
    assert format_campaign_rate(None) == "no limit"
    assert format_campaign_rate(0.123456) == "0.12/s"
