"""Authentication: a bearer key, or a session cookie from the sign-in page."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailctl import runtime
from mailctl.delivery_log.api_keys import NewApiKey, parse_key_id
from mailctl.domain import link_validation
from mailctl.web.login_throttle import LoginThrottle
from mailctl.web.problem import AccessDenied

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE_NAME = "mailctl_session"
#: A session ends after a working day.
SESSION_SECONDS = 12 * 3600
_PURPOSE = "web/session"
_INVALID_KEY = "The key is not valid."
_FIX = (
    "Create a key with `mailctl keys create NAME`; send it as `Authorization: Bearer KEY`, "
    "or enter it on the sign-in page."
)


@dataclass
class AccessControl:
    """Decides which requests are allowed.

    Args:
        process_key: a key that is valid in this process only; None accepts the API keys of the log alone.
        throttle: limits the number of failed attempts.
    """

    process_key: NewApiKey | None = None
    throttle: LoginThrottle = field(default_factory=LoginThrottle)

    def authenticate(self, request: Request) -> None:
        """Check that a request has a valid key, or the session cookie of one.

        Raises:
            AccessDenied: it has neither.
            LogUnavailable: the delivery log cannot be read.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.check_key(request, key.strip())
        elif not self._has_valid_session(request):
            raise AccessDenied(401, "A key is required.", fix=_FIX)

    def check_key(self, request: Request, key: str) -> str:
        """Return the id of a key.

        Raises:
            AccessDenied: the key is not valid, or this client has sent too many that were not.
            LogUnavailable: the delivery log cannot be read.
        """
        address = request.client.host if request.client else ""
        if seconds := self.throttle.seconds_to_wait(address):
            raise AccessDenied(
                429, "Too many invalid keys.", fix=f"Wait {seconds} s.", seconds_to_wait=seconds
            )
        key_id = parse_key_id(key)
        if self._is_process_key(key) or (key_id and runtime.current().api_keys.authenticate(key)):
            return key_id
        self.throttle.record_failure(address)
        raise AccessDenied(401, _INVALID_KEY, fix=_FIX)

    def begin_session(self, request: Request, response: Response, key_id: str, *, path: str) -> None:
        """Set the session cookie: encrypted, and not accessible to scripts or other sites.

        Args:
            request: the request of the sign-in form.
            response: the response that sets the cookie.
            key_id: the id of the key; the session ends when the key is revoked.
            path: the path of the dashboard.
        """
        session = json.dumps({"key": key_id, "until": int(time.time()) + SESSION_SECONDS}).encode()
        response.set_cookie(
            COOKIE_NAME,
            runtime.current().keyring.seal_text(session, purpose=_PURPOSE),
            max_age=SESSION_SECONDS,
            path=path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    def end_session(self, response: Response, *, path: str) -> None:
        """Delete the session cookie.

        Args:
            response: the response that deletes it.
            path: the path of the dashboard.
        """
        response.delete_cookie(COOKIE_NAME, path=path)

    def _has_valid_session(self, request: Request) -> bool:
        cookie = request.cookies.get(COOKIE_NAME, "")
        if not cookie:
            return False
        parts = runtime.current()
        plaintext = parts.keyring.open_text(cookie, purpose=_PURPOSE)
        if plaintext is None:
            return False
        session = json.loads(plaintext)
        if session["until"] < time.time():
            return False
        is_process_key = self.process_key is not None and session["key"] == self.process_key.id
        return is_process_key or parts.api_keys.find_valid(session["key"]) is not None

    def _is_process_key(self, key: str) -> bool:
        return self.process_key is not None and hmac.compare_digest(
            key.encode(), self.process_key.plaintext.encode()
        )


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
