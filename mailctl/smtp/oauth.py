"""Access tokens for signing in with XOAUTH2, from a function of the service or from a command."""

from __future__ import annotations

import inspect
import shlex
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, cast

from mailctl.errors import ConfigurationError, ServiceUnavailable
from mailctl.process.deadlines import call_with_deadline
from mailctl.process.subprocesses import CommandTooSlow, run_command
from mailctl.settings.plugins import load_object, summarize_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.settings import Settings

_FUNCTION_SETTING = "EMAIL_OAUTH_TOKEN"
_COMMAND_SETTING = "EMAIL_OAUTH_TOKEN_COMMAND"
#: Seconds that the function or the command may take.
TOKEN_SECONDS = 20.0
#: The longest token in characters; those of Microsoft 365 have about 2,000.
_LONGEST_TOKEN = 16_384


class TokenSource:
    """Keeps an access token until the mail server refuses it.

    Args:
        fetch: returns a valid token, within the number of seconds that it is given.
        setting: the setting that names it, for error messages.
    """

    def __init__(self, fetch: Callable[[float], object], *, setting: str) -> None:
        self._fetch = fetch
        self._setting = setting
        self._token: str | None = None
        self._failure: tuple[float, ConfigurationError] | None = None
        self._lock = threading.Lock()

    def token(self, *, instead_of: str | None = None, within: float = TOKEN_SECONDS) -> str:
        """Return the token.

        Args:
            instead_of: a token that the mail server has refused; then a new one is fetched.
            within: the seconds that fetching it may take.

        Raises:
            ConfigurationError: the function or the command fails, takes too long, or returns no token.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._failure is not None and self._failure[0] > asked_at:
                raise self._failure[1]  # it failed while this call waited for the lock: do not repeat it
            if self._token is None or self._token == instead_of:
                self._token = self._fetch_token(within)
            return self._token

    def _fetch_token(self, within: float) -> str:
        try:
            return self._checked(self._fetch(within))
        except ConfigurationError as error:
            self._failure = (time.monotonic(), error)
            raise

    def _checked(self, given: object) -> str:
        token = given.strip() if isinstance(given, str) else ""
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            raise ConfigurationError(
                f"{self._setting} returns no access token on one line.",
                fix="Make it return the token on one line, and nothing else.",
            )
        return token


def token_source_from_settings(settings: Settings) -> TokenSource | None:
    """Return the source of the access token; None if the settings name none."""
    command = settings.email_oauth_token_command.get_secret_value()
    return make_token_source(function=settings.email_oauth_token, command=command)


def make_token_source(
    *,
    function: str,
    command: str,
    function_setting: str = _FUNCTION_SETTING,
    command_setting: str = _COMMAND_SETTING,
) -> TokenSource | None:
    """Return the source of an access token; None if there is neither a function nor a command.

    Args:
        function: MODULE:CALLABLE, or "".
        command: the command, or "".
        function_setting: the setting that names the function, for error messages.
        command_setting: the setting that names the command, for error messages.
    """
    if function:
        return TokenSource(partial(_call, function, function_setting), setting=function_setting)
    return token_source_of_command(command, setting=command_setting) if command else None


def token_source_of_command(command: str, *, setting: str) -> TokenSource:
    """Return the source of the access token that a command prints.

    Args:
        command: the program and its arguments, as in a shell; no shell runs it.
        setting: the setting that names it, for error messages.
    """
    return TokenSource(partial(_run, command, setting), setting=setting)


def _call(spec: str, setting: str, within: float) -> object:
    """Load and call a function of the service; one that cannot be loaded fails when a token is needed."""
    try:
        return call_with_deadline(lambda: _load(spec, setting)(), service=setting, seconds=within)
    except ConfigurationError:
        raise
    except ServiceUnavailable:
        raise _too_slow(setting, within) from None
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{setting} fails: {summarize_error(error)}.", fix="Correct that function."
        ) from None


def _load(spec: str, setting: str) -> Callable[[], object]:
    loaded = load_object(spec, setting=setting)
    if callable(loaded) and not inspect.iscoroutinefunction(loaded):
        return cast("Callable[[], object]", loaded)
    kind = "an asynchronous function" if callable(loaded) else "not a function"
    raise ConfigurationError(
        f"{setting} {spec} is {kind}.",
        fix="Name a function without parameters that returns the access token.",
    )


def _run(command: str, setting: str, within: float) -> str:
    """Run a command without a shell, and return what it prints; its output is in no error message."""
    try:
        code, output = run_command(shlex.split(command), seconds=within, most_bytes=_LONGEST_TOKEN + 1)
    except CommandTooSlow:
        raise _too_slow(setting, within) from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigurationError(
            f"{setting} cannot be run: {reason}.",
            fix="Give a program and its arguments; shell syntax needs `sh -c '…'`.",
        ) from None
    if code:
        raise ConfigurationError(
            f"{setting} exited with code {code}.",
            fix="Run it by hand as the user of the worker.",
        )
    return output.decode(errors="replace")


def _too_slow(setting: str, within: float) -> ConfigurationError:
    return ConfigurationError(
        f"{setting} did not return an access token within {within:g} s.",
        fix="Run it by hand as the user of the worker.",
    )
