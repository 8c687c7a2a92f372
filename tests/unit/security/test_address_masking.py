"""Addresses are masked in texts and logs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import mailctl
from mailctl.json_logging import EscapingFormatter, JsonFormatter
from mailctl.security.address_masking import mask_address, mask_addresses_in_text, masking_logger


def test_an_address_stays_recognisable() -> None:
    """By its first letter and its domain."""
    assert mask_address("zoe@example.com") == "z…@example.com"
    assert (
        mask_addresses_in_text("<zoe@example.com>: no max@x.example.") == "<z…@example.com>: no m…@x.example."
    )


@pytest.mark.parametrize("url", ["redis://:***@host:6379/0", "amqp://shop:***@host//", "redis://shop@host/0"])
def test_the_user_of_a_url_is_no_address(url: str) -> None:
    """An operator has to know which server is meant."""
    assert mask_addresses_in_text(f"The broker at {url} is down.") == f"The broker at {url} is down."


def test_an_address_that_looks_like_a_part_of_a_url_is_masked() -> None:
    """A mailbox may begin with slashes."""
    assert mask_addresses_in_text("550 <//zoe@shop.example>") == "550 </…@shop.example>"
    assert mask_addresses_in_text("//zoe@shop.example") == "/…@shop.example"


class TestMaskingLoggers:
    """Whatever is logged with one, wherever its records go, has no address in clear."""

    def test_messages_and_tracebacks_are_masked(self, caplog: pytest.LogCaptureFixture) -> None:
        """Also what other code put into an exception."""
        log = masking_logger("mailctl.test_address_masking")
        assert masking_logger("mailctl.test_address_masking").filters == log.filters
        assert len(log.filters) == 1
        try:
            raise ValueError("550 <zoe@example.com>: no such user")
        except ValueError as error:
            log.exception("email %s: %s", "e1", error)
        log.warning("nothing to mask: %d", 7)
        first, second = caplog.records
        assert first.getMessage() == "email e1: 550 <z…@example.com>: no such user"
        assert (second.getMessage(), second.args) == ("nothing to mask: 7", (7,))
        for formatter in (logging.Formatter(), EscapingFormatter(logging.Formatter()), JsonFormatter()):
            printed = formatter.format(first)
            assert "Traceback" in printed
            assert "zoe@" not in printed

    def test_what_runs_in_the_processes_of_a_service_logs_with_one(self) -> None:
        """No call in these modules has to remember it."""
        package = Path(mailctl.__file__).parent
        modules = [*(package / "recorder").glob("*.py"), *(package / "enqueue").glob("*.py")]
        modules += [package / name for name in ("service.py", "sync.py", "tasks.py", "smtp/observer.py")]
        unmasked = [path.name for path in modules if "getLogger(" in path.read_text()]
        assert unmasked == []
