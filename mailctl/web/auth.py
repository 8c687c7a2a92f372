"""Authentication: a bearer key, or a session cookie from the sign-in page."""

from __future__ import annotations

import hmac
import logging
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailctl import runtime
from mailctl.delivery_log.api_keys import NewApiKey, parse_key_id
from mailctl.delivery_log.web_sessions import SESSION_LIFETIME, is_session_token
from mailctl.domain import link_validation
from mailctl.errors import LogMissing, ServiceUnavailable
from mailctl.web.hosts import hosts_from_setting
from mailctl.web.login_throttle import LoginThrottle
from mailctl.web.problem import AccessDenied
from mailctl.web.process_sessions import ProcessSessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

COOKIE_NAME = "mailctl_session"
_INVALID_KEY = "The key is not valid."
_FIX = (
    "Create a key with `mailctl keys create NAME`; send it as `Authorization: Bearer KEY`, "
    "or enter it on the sign-in page."
)
_log = logging.getLogger("mailctl.web")


@dataclass
class AccessControl:
    """Decides which requests are allowed.

    Args:
        process_key: a key that is valid in this process only; None accepts the API keys of the log alone.
        throttle: limits the number of failed attempts.
        own_hosts: the names by which the server itself is known; None in the application of a service.
    """

    process_key: NewApiKey | None = None
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    own_hosts: frozenset[str] | None = None
    _process_sessions: ProcessSessions = field(default_factory=ProcessSessions)

    def check_host(self, request: Request) -> None:
        """Check that a request addresses a host of the dashboard.

        Raises:
            AccessDenied: it addresses another host.
            ConfigurationError: a setting is invalid.
        """
        setting = runtime.configured_settings().mailctl_web_hosts
        if not hosts_from_setting(setting, own=self.own_hosts).allows(request.headers.get("host", "")):
            raise AccessDenied(
                400,
                "The dashboard does not answer to the host name of this address.",
                fix="Add the name to MAILCTL_WEB_HOSTS on the server, or use its IP address.",
            )

    def authenticate(self, request: Request) -> None:
        """Check that a request has a valid key, or the session cookie of one.

        Raises:
            AccessDenied: it has neither, or that cannot be found out now.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.check_key(request, key.strip())
        elif not self._has_valid_session(request):
            raise AccessDenied(401, "A key is required.", fix=_FIX)

    def check_key(self, request: Request, key: str) -> str:
        """Return the id of a key.

        A valid key is accepted, however many invalid ones came from the same address: others may share it.
        A key is too long to be guessed; the limit keeps the log from filling up, and tells programs to stop.

        Raises:
            AccessDenied: the key is not valid, this client has sent too many that were not, or the keys
                cannot be read now.
        """
        key_id = parse_key_id(key)
        with _without_details():
            if key_id and (self._is_process_key(key) or _is_key_of_log(key)):
                return key_id
        address = request.client.host if request.client else ""
        if seconds := self.throttle.seconds_to_wait(address):
            raise AccessDenied(
                429, "Too many invalid keys.", fix=f"Wait {seconds} s.", seconds_to_wait=seconds
            )
        self.throttle.record_failure(address)
        raise AccessDenied(401, _INVALID_KEY, fix=_FIX)

    def begin_session(self, request: Request, response: Response, key_id: str, *, path: str) -> None:
        """Begin a session, and set its cookie, which neither scripts nor other sites can read.

        Args:
            request: the request of the sign-in form.
            response: the response that sets the cookie.
            key_id: the id of the key; the session ends when the key is revoked.
            path: the path of the dashboard.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        is_of_process = self.process_key is not None and key_id == self.process_key.id
        response.set_cookie(
            COOKIE_NAME,
            self._process_sessions.begin() if is_of_process else runtime.current().web_sessions.begin(key_id),
            max_age=int(SESSION_LIFETIME.total_seconds()),
            path=path,
            secure=_is_encrypted(request),
            httponly=True,
            samesite="strict",
        )

    def end_session(self, request: Request, response: Response, *, path: str) -> None:
        """End a session, so that a copy of its cookie is worth nothing, and delete the cookie.

        Args:
            request: the request to sign out.
            response: the response that deletes the cookie.
            path: the path of the dashboard.

        Raises:
            AccessDenied: the delivery log cannot be written now.
        """
        token = request.cookies.get(COOKIE_NAME, "")
        self._process_sessions.end(token)
        if is_session_token(token):
            with _without_details(), suppress(LogMissing):
                runtime.current().web_sessions.end(token)
        response.delete_cookie(COOKIE_NAME, path=path)

    def _has_valid_session(self, request: Request) -> bool:
        token = request.cookies.get(COOKIE_NAME, "")
        if not is_session_token(token):
            return False
        with _without_details():
            return self._process_sessions.is_valid(token) or _is_session_of_log(token)

    def _is_process_key(self, key: str) -> bool:
        return self.process_key is not None and hmac.compare_digest(
            key.encode(), self.process_key.plaintext.encode()
        )


def _is_key_of_log(key: str) -> bool:
    with suppress(LogMissing):
        return runtime.current().api_keys.authenticate(key) is not None
    return False


def _is_session_of_log(token: str) -> bool:
    with suppress(LogMissing):
        return runtime.current().web_sessions.is_valid(token)
    return False


@contextmanager
def _without_details() -> Iterator[None]:
    """Tell a client that has not shown a valid key nothing about the database."""
    try:
        yield
    except ServiceUnavailable as error:
        _log.error("the keys cannot be read: %s %s", error.message, error.fix)
        raise AccessDenied(
            503, "The key cannot be checked now.", fix="Try again later, or see the log of the server."
        ) from error


def _is_encrypted(request: Request) -> bool:
    """Whether the browser has used https, as far as the server or a proxy says so."""
    # Who forges the header makes no more than a cookie that is sent over https alone.
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))


def check_same_origin(request: Request) -> None:
    """Refuse a form that another site has submitted (CSRF).

    Raises:
        AccessDenied: the form comes from another site, or no header says where it comes from.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "")
    is_same_origin = site == "same-origin" if site else _host_of(origin) == request.headers.get("host")
    if not is_same_origin:
        raise AccessDenied(
            403, "The form was submitted by another site.", fix="Use the form of the dashboard."
        )


def _host_of(origin: str) -> str:
    """Return the host and port of an Origin header (RFC 6454), or "" if it is too long."""
    return urlsplit(origin).netloc if len(origin) <= link_validation.MAX_URL else ""
