"""Times and lengths of time: what is refused comes with an example that is accepted."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import InvalidInput
from mailctl.timefmt import parse_future_time, parse_past_time

if TYPE_CHECKING:
    from collections.abc import Callable


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
