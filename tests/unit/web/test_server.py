"""Where the dashboard may listen."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from mailctl.errors import InvalidInput, Refused
from mailctl.settings import Settings
from mailctl.web.request_deadlines import DeadlineProtocol
from mailctl.web.server import make_config, make_process_key, serve


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_host_alone_gets_a_key_of_the_process(host: str) -> None:
    """A new one each time."""
    assert make_process_key(host).plaintext != make_process_key(host).plaintext


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "mail.example.com"])
def test_other_hosts_need_a_key_of_the_log(host: str) -> None:
    """It is refused with what to do."""
    with pytest.raises(Refused, match="Other hosts can reach") as refused:
        make_process_key(host)
    assert "mailctl keys create" in refused.value.fix


def test_an_unknown_log_format_is_refused_first() -> None:
    """Nothing is opened."""
    with pytest.raises(InvalidInput, match="'xml' is not a log format"):
        serve(Settings(), host="127.0.0.1", port=0, on_ready=lambda *_: None, log_format="xml")


def test_no_server_waits_for_ever_for_a_request() -> None:
    """Nor logs the paths, some of which hold tokens."""
    config = make_config(FastAPI(), proxy_headers=False)
    assert (config.http, config.ws, config.access_log) == (DeadlineProtocol, "none", False)
    assert config.timeout_graceful_shutdown is not None
