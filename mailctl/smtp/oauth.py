"""Access tokens for signing in with XOAUTH2, from a function of the service or from a command."""

from __future__ import annotations

import shlex
import subprocess
import threading
from functools import partial
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError
from mailctl.settings.plugins import load_object, summarize_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.settings import Settings

_FUNCTION_SETTING = "EMAIL_OAUTH_TOKEN"
_COMMAND_SETTING = "EMAIL_OAUTH_TOKEN_COMMAND"
#: Seconds that the command may take.
_COMMAND_SECONDS = 20.0
#: The longest token in characters; those of Microsoft 365 have about 2,000.
_LONGEST_TOKEN = 16_384


class TokenSource:
    """Keeps an access token until the mail server refuses it.

    Args:
        fetch: returns a token that is valid now.
        setting: the setting that names it, for error messages.
    """

    def __init__(self, fetch: Callable[[], object], *, setting: str) -> None:
        self._fetch = fetch
        self._setting = setting
        self._token: str | None = None
        self._lock = threading.Lock()

    def token(self, *, instead_of: str | None = None) -> str:
        """Return the token.

        Args:
            instead_of: a token that the mail server has refused; then a new one is fetched.

        Raises:
            ConfigurationError: the function or the command fails, or returns no token.
        """
        with self._lock:
            if self._token is None or self._token == instead_of:
                self._token = self._checked(self._fetch())
            return self._token

    def _checked(self, given: object) -> str:
        token = given.strip() if isinstance(given, str) else ""
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            raise ConfigurationError(
                f"{self._setting} returns no access token on one line.",
                fix="Make it return the token on one line, and nothing else.",
            )
        return token


def token_source_from_settings(settings: Settings) -> TokenSource | None:
    """Return the source of the access token; None if the settings name none.

    Raises:
        ConfigurationError: EMAIL_OAUTH_TOKEN names no function.
    """
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

    Raises:
        ConfigurationError: the function cannot be loaded.
    """
    if function:
        loaded = load_object(function, setting=function_setting)
        if not callable(loaded):
            raise ConfigurationError(
                f"{function_setting} {function} is not a function.",
                fix="Name a function without parameters that returns the access token.",
            )
        return TokenSource(partial(_call, loaded, function_setting), setting=function_setting)
    return token_source_of_command(command, setting=command_setting) if command else None


def token_source_of_command(command: str, *, setting: str) -> TokenSource:
    """Return the source of the access token that a command prints.

    Args:
        command: the program and its arguments, as in a shell; no shell runs it.
        setting: the setting that names it, for error messages.
    """
    return TokenSource(partial(_run, command, setting), setting=setting)


def _call(function: Callable[[], object], setting: str) -> object:
    try:
        return function()
    except Exception as error:
        raise ConfigurationError(
            f"{setting} fails: {summarize_error(error)}.", fix="Correct that function."
        ) from None


def _run(command: str, setting: str) -> str:
    """Run a command without a shell, and return what it prints; its output is in no error message."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command
            shlex.split(command), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"{setting} cannot be run ({type(error).__name__}).",
            fix="Give a program and its arguments; shell syntax needs `sh -c '…'`.",
        ) from None
    if done.returncode:
        raise ConfigurationError(
            f"{setting} exited with code {done.returncode}.",
            fix="Run it by hand as the user of the worker.",
        )
    return done.stdout
