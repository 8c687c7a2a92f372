"""Who may look: a bearer key, or a session that a key has begun on the sign-in page."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailctl import runtime
from mailctl.delivery_log.api_keys import NewApiKey, parse_key_id
from mailctl.domain import validation
from mailctl.web.login_throttle import LoginThrottle
from mailctl.web.problem import AccessDenied

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE_NAME = "mailctl_session"
#: A session ends after a working day.
SESSION_SECONDS = 12 * 3600
_PURPOSE = "web/session"
_WRONG_KEY = "This key opens nothing."
_FIX = "`mailctl keys create NAME` makes a key; `Authorization: Bearer KEY`, or the sign-in page, takes it."


@dataclass
class AccessControl:
    """Decides who may look.

    Args:
        guest: a key of this process alone, for where there is no other.
        throttle: counts wrong keys.
    """

    process_key: NewApiKey | None = None
    throttle: LoginThrottle = field(default_factory=LoginThrottle)

    def authenticate(self, request: Request) -> None:
        """Let a request pass that brings a valid key, or the session of one.

        Raises:
            Denied: it does not.
            LogUnavailable: the keys cannot be read.
        """
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.check_key(request, text.strip())
        elif not self._has_session(request):
            raise AccessDenied(401, "A key is needed.", fix=_FIX)

    def check_key(self, request: Request, text: str) -> str:
        """Return the id of the key that reads so.

        Raises:
            Denied: it is not valid, or this client has tried too many that were not.
            LogUnavailable: the keys cannot be read.
        """
        address = request.client.host if request.client else ""
        if seconds := self.throttle.seconds_to_wait(address):
            raise AccessDenied(429, "Too many wrong keys.", fix=f"Wait {seconds} s.", seconds_to_wait=seconds)
        if self._is_process_key(text) or (
            parse_key_id(text) and runtime.current().api_keys.authenticate(text)
        ):
            return parse_key_id(text)
        self.throttle.record_failure(address)
        raise AccessDenied(401, _WRONG_KEY, fix=_FIX)

    def begin_session(self, request: Request, response: Response, key_id: str, *, path: str) -> None:
        """Give the browser a session: a sealed cookie that no script can read and no other site can use.

        Args:
            path: where the dashboard is.
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
        """Take the session back."""
        response.delete_cookie(COOKIE_NAME, path=path)

    def _has_session(self, request: Request) -> bool:
        cookie = request.cookies.get(COOKIE_NAME, "")
        if not cookie:
            return False
        parts = runtime.current()
        plain = parts.keyring.open_text(cookie, purpose=_PURPOSE)
        if plain is None:
            return False
        session = json.loads(plain)
        if session["until"] < time.time():
            return False
        is_guest = self.process_key is not None and session["key"] == self.process_key.id
        return is_guest or parts.api_keys.find_valid(session["key"]) is not None

    def _is_process_key(self, text: str) -> bool:
        return self.process_key is not None and hmac.compare_digest(
            text.encode(), self.process_key.plaintext.encode()
        )


def check_same_origin(request: Request) -> None:
    """Refuse a form that another site has sent: browsers say where a form comes from.

    Raises:
        Denied: it comes from elsewhere, or nothing says where from.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "")
    is_own = site == "same-origin" if site else _host_of(origin) == request.headers.get("host")
    if not is_own:
        raise AccessDenied(403, "This form was sent by another site.", fix="Use the page's own form.")


def _host_of(origin: str) -> str:
    """Return host and port of an Origin header (RFC 6454); "" for what is too long to be one."""
    return urlsplit(origin).netloc if len(origin) <= validation.MAX_URL else ""
