"""Who may look: a bearer key, or a session that a key has begun on the sign-in page."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailctl import runtime
from mailctl.delivery_log.api_keys import NewKey, id_of
from mailctl.domain import validation
from mailctl.web.login_throttle import Throttle
from mailctl.web.problem import Denied

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE = "mailctl_session"
#: A session ends after a working day.
SESSION_SECONDS = 12 * 3600
_PURPOSE = "web/session"
_WRONG = "This key opens nothing."
_FIX = "`mailctl keys create NAME` makes a key; `Authorization: Bearer KEY`, or the sign-in page, takes it."


@dataclass
class Access:
    """Decides who may look.

    Args:
        guest: a key of this process alone, for where there is no other.
        throttle: counts wrong keys.
    """

    guest: NewKey | None = None
    throttle: Throttle = field(default_factory=Throttle)

    def require(self, request: Request) -> None:
        """Let a request pass that brings a valid key, or the session of one.

        Raises:
            Denied: it does not.
            LogUnavailable: the keys cannot be read.
        """
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.check(request, text.strip())
        elif not self._is_in_session(request):
            raise Denied(401, "A key is needed.", fix=_FIX)

    def check(self, request: Request, text: str) -> str:
        """Return the id of the key that reads so.

        Raises:
            Denied: it is not valid, or this client has tried too many that were not.
            LogUnavailable: the keys cannot be read.
        """
        address = request.client.host if request.client else ""
        if seconds := self.throttle.seconds_to_wait(address):
            raise Denied(429, "Too many wrong keys.", fix=f"Wait {seconds} s.", seconds_to_wait=seconds)
        if self._is_guest(text) or (id_of(text) and runtime.current().keys.check(text)):
            return id_of(text)
        self.throttle.note_failure(address)
        raise Denied(401, _WRONG, fix=_FIX)

    def begin_session(self, request: Request, response: Response, key_id: str, *, path: str) -> None:
        """Give the browser a session: a sealed cookie that no script can read and no other site can use.

        Args:
            path: where the dashboard is.
        """
        session = json.dumps({"key": key_id, "until": int(time.time()) + SESSION_SECONDS}).encode()
        response.set_cookie(
            COOKIE,
            runtime.current().keyring.seal(session, purpose=_PURPOSE).decode(),
            max_age=SESSION_SECONDS,
            path=path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    def end_session(self, response: Response, *, path: str) -> None:
        """Take the session back."""
        response.delete_cookie(COOKIE, path=path)

    def _is_in_session(self, request: Request) -> bool:
        cookie = request.cookies.get(COOKIE, "")
        if not cookie:
            return False
        parts = runtime.current()
        plain = parts.keyring.open(cookie.encode("ascii", "replace"), purpose=_PURPOSE)
        if plain is None:
            return False
        session = json.loads(plain)
        if session["until"] < time.time():
            return False
        is_guest = self.guest is not None and session["key"] == self.guest.id
        return is_guest or parts.keys.valid(session["key"]) is not None

    def _is_guest(self, text: str) -> bool:
        return self.guest is not None and hmac.compare_digest(text.encode(), self.guest.text.encode())


def refuse_other_sites(request: Request) -> None:
    """Refuse a form that another site has sent: browsers say where a form comes from.

    Raises:
        Denied: it comes from elsewhere, or nothing says where from.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "")
    is_own = site == "same-origin" if site else _host_of(origin) == request.headers.get("host")
    if not is_own:
        raise Denied(403, "This form was sent by another site.", fix="Use the page's own form.")


def _host_of(origin: str) -> str:
    """Return host and port of an Origin header (RFC 6454); "" for what is too long to be one."""
    return urlsplit(origin).netloc if len(origin) <= validation.MAX_URL else ""
