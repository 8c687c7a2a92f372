"""The parameters of the statistics and of the suppressed addresses."""

from __future__ import annotations

import pytest

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.errors import InvalidInput
from mailctl.web.report_queries import StatsQuery, SuppressionQuery, read_stats_query


def test_an_empty_start_means_a_day_ago() -> None:
    """Spaces do not count."""
    assert read_stats_query(since=" ", until=" 1h ") == StatsQuery(since="24h", until="1h")


def test_the_command_prints_the_same_statistics() -> None:
    """An end that was not given is left out."""
    query = StatsQuery(since="2d", by=Dimension.DOMAIN)
    assert str(query.command()) == "mailctl stats --since 2d --by domain"


def test_an_unknown_source_is_refused() -> None:
    """The fix names those that there are."""
    with pytest.raises(InvalidInput, match="'nowhere' is not a source") as refused:
        SuppressionQuery(source="nowhere").page()
    assert "bounce, complaint, operator, import" in refused.value.fix
