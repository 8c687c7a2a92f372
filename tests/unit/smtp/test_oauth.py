"""Access tokens: where they come from, and what is no token."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.smtp.oauth import TokenSource, token_source_from_settings

if TYPE_CHECKING:
    from pathlib import Path


def source(**settings: object) -> TokenSource:
    """Return the source that the settings name."""
    found = token_source_from_settings(Settings(**settings))  # type: ignore[arg-type]
    assert found is not None
    return found


def command(program: str) -> SecretStr:
    """Return a command that runs a line of Python."""
    return SecretStr(f'{sys.executable} -c "{program}"')


def test_a_token_is_kept_until_it_is_refused() -> None:
    """Then it is fetched once, by whichever session notices first."""
    tokens = iter("abc")
    found = TokenSource(lambda _: next(tokens), setting="X")
    assert [found.token(), found.token()] == ["a", "a"]
    assert [found.token(instead_of="a"), found.token(instead_of="a"), found.token()] == ["b", "b", "b"]


def test_a_command_prints_the_token() -> None:
    """With a line feed at its end, as commands do."""
    assert source(email_oauth_token_command=command("print('t0ken')")).token() == "t0ken"


def test_a_function_returns_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a module in the working directory."""
    (tmp_path / "tokens_of_test.py").write_text("def access_token():\n    return 't0ken'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert source(email_oauth_token="tokens_of_test:access_token").token() == "t0ken"


@pytest.mark.parametrize(
    "program", ["print('a\\nb')", "print()", "import sys; sys.exit('s3cret')", "print('t0ken '*9999)"]
)
def test_a_command_that_gives_no_token_is_our_fault(program: str) -> None:
    """What it printed is not shown."""
    with pytest.raises(ConfigurationError) as raised:
        source(email_oauth_token_command=command(program)).token()
    assert "EMAIL_OAUTH_TOKEN_COMMAND" in str(raised.value)
    assert not any(word in str(raised.value) for word in ("s3cret", "t0ken"))


def test_a_command_that_is_missing_is_our_fault() -> None:
    """One sentence."""
    with pytest.raises(ConfigurationError, match="cannot be run: no such file or directory"):
        source(email_oauth_token_command=SecretStr("/no/such/program")).token()


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("os:sep", "is not a function"),
        ("os:nothing_there", "cannot be imported"),
        ("asyncio:sleep", "is an asynchronous function"),
        ("sys:exit", "fails: SystemExit"),
        ("os:getcwdb", "returns no access token"),
    ],
)
def test_a_function_that_gives_no_token_is_our_fault(function: str, what: str) -> None:
    """It is found when a session needs the token, which leaves its email waiting."""
    tokens = source(email_oauth_token=function)
    with pytest.raises(ConfigurationError, match=what):
        tokens.token()


def test_a_function_or_a_command_that_hangs_is_our_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how long it was waited for, and which setting names it."""
    (tmp_path / "slow_tokens_of_test.py").write_text("import threading\nhang = threading.Event().wait\n")
    monkeypatch.syspath_prepend(tmp_path)
    for setting, value in (
        ("EMAIL_OAUTH_TOKEN", "slow_tokens_of_test:hang"),
        ("EMAIL_OAUTH_TOKEN_COMMAND", command("import time; time.sleep(600)")),
    ):
        with pytest.raises(ConfigurationError, match=rf"{setting} did not .* within 0\.1 s"):
            source(**{setting.lower(): value}).token(within=0.1)


def test_sessions_that_wait_for_a_token_fail_with_the_first() -> None:
    """They do not wait one after the other for a function that hangs."""
    calls, is_asked, may_fail = [], threading.Event(), threading.Event()

    def fetch(_: float) -> object:
        calls.append(None)
        is_asked.set()
        may_fail.wait(60)
        return None

    tokens = TokenSource(fetch, setting="X")
    with ThreadPoolExecutor() as threads:
        first = threads.submit(tokens.token)
        is_asked.wait(60)
        second = threads.submit(tokens.token)
        while not second.running():
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)
        may_fail.set()
        assert isinstance(first.exception(60), ConfigurationError)
        assert isinstance(second.exception(60), ConfigurationError)
    assert len(calls) == 1


def test_without_a_setting_there_is_no_source() -> None:
    """XOAUTH2 then says which setting is missing."""
    assert token_source_from_settings(Settings()) is None
