"""MAILCTL_LINK_MINT: a service's own function that makes the tokens of links."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mailctl.domain.validation import validate_token
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError, NotFound
from mailctl.settings.plugins import load_object

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.domain.catalog import Kind, Link
    from mailctl.domain.models import Content, Json

_SETTING = "MAILCTL_LINK_MINT"
#: Returns the record of the user with an id, by column; raises `NotFound` if there is none.
UserLookup = Callable[[str], Mapping[str, object]]


class LinkUser:
    """The user that an email is for: each column of the record in the users' database is an attribute.

    `id`, `email`, `username` and `first_name` are always there. A user who is not in that database, for
    example one known only by address, has only these four; the `id` is then None or text.
    """

    id: Any
    email: str
    username: str
    first_name: str

    def __init__(self, columns: Mapping[str, object]) -> None:
        vars(self).update(columns)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the record of the user has no column {name!r}")

    def __repr__(self) -> str:
        return f"LinkUser(id={self.id!r})"


@dataclass(frozen=True, kw_only=True)
class LinkRequest:
    """The argument of a function of MAILCTL_LINK_MINT: one link of one email."""

    #: The name of the kind of the email, such as `reset`.
    kind: str
    #: What the link is for, such as `reset-password`.
    purpose: str
    #: The action that a click requests: `whitelist` or `blacklist` in emails about a new IP address.
    action: str | None
    user: LinkUser
    #: The IP address that the email is about; None in other emails.
    ip_address: str | None
    #: When the link expires according to its kind, with a time zone; a JWT may expire earlier.
    expires_at: datetime
    #: All template variables of the email.
    context: Mapping[str, Json]


class LinkMint:
    """Makes the tokens of links with a function of the service.

    Args:
        function: takes a `LinkRequest` and returns the token.
        find_user: looks users up; None if there is no database of users.
    """

    def __init__(self, function: Callable[[LinkRequest], object], *, find_user: UserLookup | None) -> None:
        self._function = function
        self._find_user = find_user

    def token(self, kind: Kind, link: Link, content: Content, *, expires_at: datetime) -> str:
        """Return the token of one link.

        Raises:
            ConfigurationError: the function fails, or returns no usable token, or the database of users
                cannot be read.
            InvalidInput: the user no longer exists.
        """
        request = LinkRequest(
            kind=kind.name,
            purpose=link.purpose,
            action=link.action,
            user=self._user(content),
            ip_address=content.context.get("ip_address"),
            expires_at=expires_at,
            context=MappingProxyType(dict(content.context)),
        )
        try:
            return validate_token(self._call(request))
        except InvalidInput as error:
            raise ConfigurationError(
                f"The token that the function of {_SETTING} returns {error.reason}",
                fix="Correct the function.",
            ) from None

    def _user(self, content: Content) -> LinkUser:
        known = {name: value for name, value in vars(content.user).items() if name != "id"}
        if self._find_user is None or content.user.id is None:
            return LinkUser({**known, "id": content.user.id})
        try:
            found = self._find_user(content.user.id)
        except NotFound as error:
            reason = "does not exist any more, so the service cannot make the link."
            raise InvalidInput(f"user {content.user.id}", reason, fix=error.fix) from None
        except MailctlError as error:
            raise ConfigurationError(f"{_SETTING}: {error.message}", fix=error.fix) from error
        return LinkUser({**known, "id": content.user.id, **found})

    def _call(self, request: LinkRequest) -> object:
        try:
            return self._function(request)
        except Exception as error:
            # The message of the service's exception may contain the user, or a token.
            raise ConfigurationError(
                f"The function of {_SETTING} raised {type(error).__name__} ({_place(error)}).",
                fix="Correct the function.",
            ) from None


def load_mint(spec: str) -> Callable[[LinkRequest], object]:
    """Return the function that MAILCTL_LINK_MINT names.

    Raises:
        ConfigurationError: it cannot be imported, is not a function, or is an asynchronous one.
    """
    mint = load_object(spec, setting=_SETTING)
    if not callable(mint):
        raise ConfigurationError(f"{_SETTING}={spec} is not callable.", fix="Name a function.")
    if inspect.iscoroutinefunction(mint):
        raise ConfigurationError(
            f"{_SETTING}={spec} is an asynchronous function, and a worker calls it without an event loop.",
            fix="Name a function without `async`.",
        )
    return mint


def _place(error: Exception) -> str:
    """Return the file and the line at which a function of the service failed."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{Path(frame.f_code.co_filename).name}, line {line}"
