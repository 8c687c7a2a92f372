"""Decides when the links of an email expire: those that came with it, and those that mailctl makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.jwt import unverified_expiry, unverified_expiry_in_url
from mailctl.domain.retry_policy import is_too_late
from mailctl.errors import InvalidInput
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

    from mailctl.domain.catalog import Kind, Link
    from mailctl.domain.models import Content


def given_links_expiry(
    kind: Kind, content: Content, *, given_at: datetime, are_sealed: bool
) -> datetime | None:
    """Return when the first of the links expires that came with an email, as a token or as a URL.

    A link is valid for the lifetime that its kind declares, counted from when it was given, or until the
    `exp` of a JWT in it, if that is earlier. A token that mailctl seals is only limited by its `exp`.

    Args:
        kind: the kind whose links the email has.
        content: the content of the email.
        given_at: when the links were given.
        are_sealed: whether mailctl seals given tokens when it sends the email.

    Returns:
        The time; None if no link with a limit came with the email.
    """
    if not (content.tokens or content.urls):
        return None
    times = (_given_expiry(link, content, given_at, are_sealed=are_sealed) for link in kind.links)
    return min((time for time in times if time is not None), default=None)


def links_expiry(
    kind: Kind,
    content: Content,
    urls: Mapping[str, str],
    *,
    given_at: datetime,
    now: datetime,
    are_sealed: bool,
) -> datetime | None:
    """Return when the first link of an email expires that is sent now; None if its kind has no links.

    Args:
        kind: the kind whose links the email has.
        content: the content of the email.
        urls: the links by template variable; those that did not come with the email were made now.
        given_at: when the other links were given.
        now: the time of sending.
        are_sealed: whether mailctl seals given tokens.
    """
    times = [given_links_expiry(kind, content, given_at=given_at, are_sealed=are_sealed)]
    for link in kind.links:
        if are_sealed or not _is_given(link, content):
            times += [now + link.lifetime, unverified_expiry_in_url(urls.get(link.variable, ""))]
    return min((time for time in times if time is not None), default=None)


def undated_links_lifetime(kind: Kind, content: Content) -> timedelta | None:
    """Return for how long the links count as valid that came with an email and do not say how long they are.

    Args:
        kind: the kind whose links the email has.
        content: the content of the email.

    Returns:
        The shortest lifetime that the kind declares for such a link; None if every link has an `exp`, or none
        came with the email.
    """
    given = (link for link in kind.links if _is_given(link, content))
    undated = (link.lifetime for link in given if _stated_expiry(link, content) is None)
    return min(undated, default=None)


def refuse_expiring_links(
    kind: Kind, content: Content, *, given_at: datetime, sent_at: datetime, are_sealed: bool
) -> None:
    """Refuse links that will have expired when the email can be sent.

    Args:
        kind: the kind whose links the email has.
        content: the content of the email.
        given_at: when the links were given.
        sent_at: the earliest time at which the email can be sent.
        are_sealed: whether mailctl seals given tokens.

    Raises:
        InvalidInput: a link expires before that time, or within a minute after it.
    """
    for link in kind.links:
        expiry = _given_expiry(link, content, given_at, are_sealed=are_sealed)
        if is_too_late(sent_at, expiry):
            when = format_time(expiry, TimeStyle.SENTENCE) if expiry else ""
            raise InvalidInput(
                link.variable if link.variable in content.urls else link.token,
                f"expires too early to be sent: at {when}.",
                fix="Give a token that is valid for longer, or none: mailctl makes one when it sends.",
            )


def _given_expiry(link: Link, content: Content, given_at: datetime, *, are_sealed: bool) -> datetime | None:
    return min(_given_limits(link, content, given_at, are_sealed=are_sealed), default=None)


def _given_limits(
    link: Link, content: Content, given_at: datetime, *, are_sealed: bool
) -> Iterator[datetime]:
    if not _is_given(link, content):
        return
    if content.urls.get(link.variable) or not are_sealed:
        yield given_at + link.lifetime
    if expiry := _stated_expiry(link, content):
        yield expiry


def _stated_expiry(link: Link, content: Content) -> datetime | None:
    """Return the `exp` of the JWT in a link that came with an email; None if it is none, or has none."""
    url = content.urls.get(link.variable)
    return unverified_expiry_in_url(url) if url else unverified_expiry(content.tokens.get(link.token, ""))


def _is_given(link: Link, content: Content) -> bool:
    return bool(content.urls.get(link.variable) or content.tokens.get(link.token))
