"""Options that several commands share."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest

from mailctl.cli.commands.monitor import ThresholdOptions
from mailctl.cli.commands.queue_control import PurgeOptions
from mailctl.cli.context import CliSession
from mailctl.cli.option_groups import ActionOptions, FilterOptions, LayoutOptions, with_options
from mailctl.errors import InvalidInput


def command(session: CliSession, options: ActionOptions, name: str = "x") -> None:
    """Remember what was given."""
    vars(session)["given"] = (options, name)


def test_a_command_gets_the_options_of_its_groups() -> None:
    """As parameters of its own, which become one value."""
    taken = with_options(command)
    assert list(inspect.signature(taken).parameters) == ["session", "name", "reason", "dry_run", "yes"]
    session = CliSession()
    taken(session, name="y", reason="why", dry_run=True, yes=False)
    assert vars(session)["given"] == (ActionOptions(reason="why", dry_run=True), "y")


class TestFilterOptions:
    def test_no_filter_matches_everything(self) -> None:
        """So that commands can ask for at least one."""
        assert FilterOptions().to_filter(CliSession()).matches_all

    def test_ages_become_times(self) -> None:
        """Counted from now."""
        found = FilterOptions(since="24h", until="1h").to_filter(CliSession())
        assert found.since is not None
        assert found.until is not None
        assert found.until - found.since == timedelta(hours=23)

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            (FilterOptions(state=["lost"]), "state"),
            (FilterOptions(since="lately"), "--since"),
            (FilterOptions(until="soon"), "--until"),
        ],
    )
    def test_what_cannot_be_a_filter_is_refused(self, options: FilterOptions, field: str) -> None:
        """By the name of its option, or by what the value should be."""
        with pytest.raises(InvalidInput) as caught:
            options.to_filter(CliSession())
        assert caught.value.field == field


class TestLayoutOptions:
    def session(self, *, is_json: bool) -> CliSession:
        """Return a session with or without --json."""
        session = CliSession()
        session.merge_options({"json": is_json})
        return session

    @pytest.mark.parametrize("wanted", ["table", "csv", "tsv"])
    def test_two_formats_are_refused(self, wanted: str) -> None:
        """Nobody would know which of them comes."""
        with pytest.raises(InvalidInput, match=f"{wanted} cannot be combined with --json"):
            LayoutOptions(output=wanted).apply_to(self.session(is_json=True), "emails:EmailView")

    @pytest.mark.parametrize(("wanted", "is_json"), [(None, True), ("json", True), ("json", False)])
    def test_json_may_be_asked_for_in_both_ways(self, wanted: str | None, is_json: bool) -> None:
        """Also twice."""
        session = self.session(is_json=is_json)
        LayoutOptions(output=wanted).apply_to(session, "emails:EmailView")
        assert session.output.as_json


class TestPurgeOptions:
    def test_something_has_to_be_selected(self) -> None:
        """Everything only with --all."""
        with pytest.raises(InvalidInput, match="is missing"):
            PurgeOptions().to_filter(CliSession(), None)
        with pytest.raises(InvalidInput, match="--all cannot be combined with filters"):
            PurgeOptions(all_queues=True).to_filter(CliSession(), "celery")
        assert PurgeOptions(all_queues=True).to_filter(CliSession(), None).matches_all
        assert PurgeOptions().to_filter(CliSession(), "celery").queue == "celery"

    def test_an_age_becomes_a_time(self) -> None:
        """Emails recorded before it match."""
        found = PurgeOptions(older_than="2h").to_filter(CliSession(), None)
        assert found.until is not None
        assert found.until <= datetime.now(UTC) - timedelta(hours=2)


def test_thresholds_are_parsed() -> None:
    """Durations and shares."""
    found = ThresholdOptions(max_age="2m", max_failed="10%", since="1h").to_thresholds()
    assert (found.max_age, found.max_failure_rate) == (timedelta(minutes=2), 0.1)
    assert found.failure_window == timedelta(hours=1)
    with pytest.raises(InvalidInput, match="--max-failed"):
        ThresholdOptions(max_failed="many").to_thresholds()
