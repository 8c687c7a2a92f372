"""The variables that the template of an email can use."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.link_expiry import links_expiry
from mailctl.errors import InvalidInput
from mailctl.timefmt import format_long_time, format_remaining

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Json, User

DEFAULT_LOCALE = "en"
#: The variables of every email, whatever its kind.
COMMON_VARIABLES = frozenset(
    {"project_name", "frontend_url", "subject", "greeting_name", "recipient_email", "locale", "title"}
    | {"user", "username", "first_name"}
)


class EmailVariables:
    """Makes the variables of emails.

    Args:
        project_name: the name of the project.
        frontend_url: the address of the project's site.
        seals_tokens: whether mailctl seals the tokens that the service gives.
    """

    def __init__(self, project_name: str, *, frontend_url: str, seals_tokens: bool) -> None:
        self._project_name = project_name
        self._frontend_url = frontend_url
        self._seals_tokens = seals_tokens

    def of_email(
        self, kind: Kind, content: Content, links: Mapping[str, str], *, created_at: datetime, now: datetime
    ) -> dict[str, Json]:
        """Return the variables of an email, by name.

        Args:
            kind: the kind of email.
            content: the content of the email.
            links: the action links, by variable.
            created_at: the time of the request.
            now: the time of sending.

        Raises:
            InvalidInput: the subject or the recipient is invalid.
        """
        subject = self.subject(kind, content)
        expiry = self._expiry(kind, content, links, created_at=created_at, now=now)
        has_own_links = content.template is not None
        given = {**expiry, **content.context} if has_own_links else {**content.context, **links, **expiry}
        return {
            "unsubscribe_url": "",
            **self._defaults(kind, content, subject, created_at),
            **given,
            **self._fixed_variables(content, subject),
        }

    def for_another_program(
        self, kind: Kind, content: Content, links: Mapping[str, str], *, created_at: datetime, now: datetime
    ) -> dict[str, Json]:
        """Return the variables of an email whose message another program composes: see `of_email`.

        Those that such a program has by itself are left out, such as the subject and the name of the project.
        """
        return (
            self._defaults(kind, content, self.subject(kind, content), created_at)
            | dict(content.context)
            | dict(links)
            | self._expiry(kind, content, links, created_at=created_at, now=now)
        )

    def subject(self, kind: Kind, content: Content) -> str:
        """Return the subject of an email.

        Raises:
            InvalidInput: the subject is invalid.
        """
        if kind.subject is None or content.subject is not None:
            return validation.validate_subject(content.subject)
        return validation.validate_subject(kind.subject_line(self._project_name, content.context))

    def _expiry(
        self, kind: Kind, content: Content, urls: Mapping[str, str], *, created_at: datetime, now: datetime
    ) -> dict[str, str]:
        """Return the variables that say when the links expire; none if the kind has no links."""
        # Links that came with the email are as old as the email.
        expiry = links_expiry(
            kind, content, urls, given_at=created_at, now=now, are_sealed=self._seals_tokens
        )
        if expiry is None:
            return {}
        return {"expires_in": format_remaining(expiry - now), "expires_at": _format_time(expiry)}

    def _defaults(self, kind: Kind, content: Content, subject: str, created_at: datetime) -> dict[str, Json]:
        """Return the variables that the context of an email may override."""
        title = {"title": subject} if content.template is not None else {}
        if kind.template is None:
            return title
        defaults = title | {"occurred_at": _format_time(created_at)}
        return defaults if kind.links else defaults | {"action_url": self._frontend_url}

    def _fixed_variables(self, content: Content, subject: str) -> dict[str, Json]:
        """Return the variables that no context overrides."""
        return {
            "project_name": self._project_name,
            "frontend_url": self._frontend_url,
            "subject": subject,
            "greeting_name": validation.safe_greeting_name(content.user.first_name or content.user.username),
            "recipient_email": validate_address(content.user.email),
            "locale": _locale(content.context.get("locale")),
        }


def user_variables(user: User) -> dict[str, Json]:
    """Return the variables of own templates that say who the user is; names that print a link are empty."""
    names = {
        "username": validation.safe_greeting_name(user.username),
        "first_name": validation.safe_greeting_name(user.first_name),
    }
    return {"user": {"id": user.id, "email": user.email, **names}, **names}


def english_locale(locale: str) -> str:
    """Return a locale if it is one of English, or else that of any English."""
    return locale if locale.lower().partition("-")[0] == DEFAULT_LOCALE else DEFAULT_LOCALE


def _locale(value: object) -> str:
    try:
        return validation.validate_locale(value)
    except InvalidInput:
        return DEFAULT_LOCALE


def _format_time(at: datetime) -> str:
    return _format_minute(at.replace(second=0, microsecond=0))


_format_minute = lru_cache(maxsize=64)(format_long_time)
