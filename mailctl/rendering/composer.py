"""Composes the message of an email: from its content to the bytes for the mail server."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from fastapi_mail import MessageSchema, MessageType, MultipartSubtypeEnum, NameEmail

from mailctl.domain import validation
from mailctl.domain.catalog import BUILT_IN_CATALOG, BUILT_IN_KINDS, effective_kind
from mailctl.domain.models import Content, Envelope
from mailctl.domain.provider_headers import id_headers
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.domain.webhook_secrets import webhook_secrets_from_settings
from mailctl.errors import RenderError
from mailctl.rendering import mime
from mailctl.rendering.message_settings import message_settings_of
from mailctl.rendering.mime import Header
from mailctl.rendering.templates import Templates
from mailctl.rendering.variables import EmailVariables, english_locale, user_variables
from mailctl.security.bounce_address import bounce_address_from_settings
from mailctl.security.unsubscribe_links import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.domain.models import Json
    from mailctl.domain.recipient_policy import Destination
    from mailctl.domain.senders import SenderIdentity
    from mailctl.rendering.templates import RenderedBodies
    from mailctl.security.bounce_address import BounceAddress
    from mailctl.security.links import Links
    from mailctl.security.unsubscribe_links import UnsubscribeLinks
    from mailctl.settings import Settings

#: The header with the intended recipient of a redirected message.
_ORIGINAL_TO_HEADER = "X-Original-To"
_UNSUBSCRIBE_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})
_log = logging.getLogger("mailctl.templates")
#: The id of a preview, which is not recorded.
_PREVIEW_ID = "00000000-0000-0000-0000-000000000000"


class Composer:
    """Composes messages.

    Templates are listed and compiled once: a composer does not notice changes of templates.

    Args:
        settings: provides EMAIL_FROM_ADDRESS, EMAIL_FROM_NAME, PROJECT_NAME, FRONTEND_URL, MAILCTL_TEMPLATES,
            MAILCTL_REDIRECT_TO, MAILCTL_REPLY_TO, MAILCTL_BOUNCE_ADDRESS, MAILCTL_SENDERS and
            MAILCTL_HEADERS.
        links: creates the action links.
        catalog: the kinds of email.
        unsubscribe_links: creates the links for unsubscribing; None for emails without them.

    Raises:
        ConfigurationError: a sender's address or name, a reply address, the bounce address or a header is
            invalid, or the folder of templates is missing.
    """

    def __init__(
        self,
        settings: Settings,
        links: Links,
        *,
        catalog: Catalog = BUILT_IN_CATALOG,
        unsubscribe_links: UnsubscribeLinks | None = None,
    ) -> None:
        given = message_settings_of(settings)
        self._senders = given.senders
        self._bounce_address = bounce_address_from_settings(settings)
        self._notify = "SUCCESS,FAILURE,DELAY" if settings.mailctl_notify_success else "FAILURE,DELAY"
        self._frontend_url = settings.frontend_url
        self._links = links
        self._unsubscribe_links = unsubscribe_links
        self._webhook_providers = tuple(webhook_secrets_from_settings(settings))
        self._variables = EmailVariables(
            given.project_name,
            frontend_url=settings.frontend_url,
            seals_tokens=settings.seals_link_tokens,
        )
        self._catalog = catalog
        self._recipient_policy = recipient_policy_from_settings(settings)
        self._templates = Templates(given.templates)
        self._more_headers = given.more_headers

    async def preview(self, kind: Kind, content: Content, *, at: datetime) -> Envelope:
        """Return the message of an email that is not recorded; raises what `compose` raises.

        Args:
            kind: the kind of email.
            content: the content of the email.
            at: the time of sending, with a time zone.
        """
        return await self.compose(id=_PREVIEW_ID, kind=kind.name, content=content, created_at=at, now=at)

    async def compose(
        self,
        *,
        id: str,
        kind: str,
        content: Content,
        created_at: datetime,
        now: datetime,
        can_unsubscribe: bool = False,
    ) -> Envelope:
        """Return the message of an email.

        Args:
            id: the email's id; the Message-ID depends on it and on the domain of its sender alone.
            kind: the name of a kind in the catalog.
            content: the validated content of the email.
            created_at: the time of the request, with a time zone.
            now: the time of sending, with a time zone: the date of the message and of its links.
            can_unsubscribe: whether the recipient may unsubscribe from such emails.

        Returns:
            The message (RFC 5322, plain text and HTML, CRLF line ends) with its sender and recipient.

        Raises:
            ConfigurationError: this process does not know the kind, or MAILCTL_LINK_MINT fails.
            InvalidInput: the recipient, the subject or the template name is invalid, or
                MAILCTL_LINK_MINT makes a link for a user who no longer exists.
            RenderError: a template is missing or wrong, lacks a variable, or the result cannot be sent.
        """
        catalogued = effective_kind(self._catalog.get_recorded(kind), content.template)
        links = await self._make_urls(catalogued, content, now=now)
        context = self._variables.of_email(catalogued, content, links, created_at=created_at, now=now)
        unsubscribe_url = self._unsubscribe_url(id, kind, content) if can_unsubscribe else ""
        context["unsubscribe_url"] = context["unsubscribe_url"] or unsubscribe_url
        subject = context["subject"]
        rendering, language = self._render(catalogued, content, context)
        addressed = self._recipient_policy.resolve_destination(context["recipient_email"], subject=subject)
        sender = self._senders.choose(kind=catalogued.name, tenant=content.tenant, requested=content.sender)
        bounces = self._bounces_to(sender)
        bounce_token = bounces.token(id) if bounces else ""
        message_id = mime.make_message_id(id, domain=sender.address.rpartition("@")[2])
        message = self._message(
            rendering, context | {"locale": language}, addressed, id=id, date=now, message_id=message_id
        )
        return Envelope(
            sender=self._envelope_sender(id, sender),
            from_address=sender.address,
            bounce_token=bounce_token,
            notify=self._notify if bounce_token else "",
            recipient=addressed.to,
            message_id=message_id,
            data=self._encoded(
                message,
                sender,
                self._headers_of_email(id, unsubscribe_url, sender=sender, kind=catalogued.name),
            ),
            subject=addressed.subject,
            links=_shown_links(links, context, unsubscribe_url),
            text=rendering.text,
        )

    def as_generic(
        self,
        kind: Kind,
        content: Content,
        *,
        urls: Mapping[str, str],
        created_at: datetime,
        now: datetime,
    ) -> Content:
        """Return the content of an email of a service's own kind as content of the generic kind.

        Args:
            kind: the service's own kind.
            content: the content of the email.
            urls: the links of the email, created at `now`.
            created_at: the time of the request.
            now: the time of sending.

        Raises:
            InvalidInput: the subject is invalid.
        """
        subject = self._variables.subject(kind, content)
        context = self._variables.for_another_program(kind, content, urls, created_at=created_at, now=now)
        return Content(user=content.user, context=context, subject=subject, template=kind.template)

    def envelope_sender(self, id: str, *, kind: str) -> str:
        """Return what MAIL says for an email of a kind, without a tenant or a sender of its own.

        Args:
            id: the email's id.
            kind: the name of the kind.
        """
        return self._envelope_sender(id, self._senders.choose(kind=kind))

    def list_templates(self) -> list[str]:
        """Return the names of the templates, those of the service's own folder first.

        A name is listed if one of its two files exists; `check_template` says whether it can be used.
        """
        return self._templates.names()

    def is_own_template(self, template: str) -> bool:
        """Whether the service's own folder has the template."""
        return self._templates.is_own(template)

    def has_text_file(self, template: str) -> bool:
        """Whether the plain text of a template is a file of its own; raises what `check_template` raises."""
        return self._templates.has_text_file(template)

    def check_template(self, template: str) -> None:
        """Compile the files of a template and every template that they refer to.

        Raises:
            RenderError: a file is missing or wrong; the message names file and line.
        """
        self._templates.check(template)

    def unknown_variables(self, kind: Kind, content: Content) -> list[str]:
        """Return the variables that a template uses and emails of the kind do not have.

        Args:
            kind: the kind of email.
            content: the content of an email of this kind.

        Raises:
            RenderError: as for `check_template`.
        """
        now = datetime.now(UTC)
        links = dict.fromkeys((link.variable for link in kind.links), "")
        context = self._variables.of_email(kind, content, links, created_at=now, now=now)
        used = self._templates.variables(kind.template or content.template or "", with_optional=False)
        return sorted(used - context.keys() - user_variables(content.user).keys())

    def reason_against_own_template(self, kind: Kind, content: Content) -> str:
        """Return why emails of a built-in kind cannot use the service's own template; "" if they can.

        Args:
            kind: the built-in kind.
            content: the content of an email of this kind.
        """
        template, now = kind.template or content.template or "", datetime.now(UTC)
        if not self._templates.is_own(template):
            return ""
        links = dict.fromkeys((link.variable for link in kind.links), self._frontend_url)
        context = self._variables.of_email(kind, content, links, created_at=now, now=now)
        try:
            unknown = self.unknown_variables(kind, content)
            self._templates.render(template, {**user_variables(content.user), **context})
        except RenderError as error:
            return error.message
        return f"{template}.html uses {unknown[0]}, which they do not have." if unknown else ""

    def template_variables(self, template: str) -> set[str]:
        """Return the variables that a template uses; raises what `check_template` raises."""
        return self._templates.variables(template)

    def _envelope_sender(self, id: str, sender: SenderIdentity) -> str:
        bounces = self._bounces_to(sender)
        return bounces.sender(id) if bounces else sender.bounce_address

    def _bounces_to(self, sender: SenderIdentity) -> BounceAddress | None:
        """Return MAILCTL_BOUNCE_ADDRESS, unless the sender has a bounce address of its own."""
        return self._bounce_address if sender.bounce_address == sender.address else None

    def _message(
        self,
        rendering: RenderedBodies,
        context: Mapping[str, Json],
        addressed: Destination,
        *,
        id: str,
        date: datetime,
        message_id: str,
    ) -> MessageSchema:
        """Return the message in the form of FastAPI-Mail."""
        # The recipient of a redirected message must not appear under the name of the intended one.
        name = "" if addressed.original_recipient else context["greeting_name"]
        original_to = (
            {_ORIGINAL_TO_HEADER: addressed.original_recipient} if addressed.original_recipient else {}
        )
        return MessageSchema(
            recipients=[NameEmail(name=name, email=addressed.to)],
            subject=addressed.subject,
            body=rendering.text,
            alternative_body=rendering.html,
            subtype=MessageType.plain,
            multipart_subtype=MultipartSubtypeEnum.alternative,
            headers={
                "Date": _format_date_header(date.replace(microsecond=0)),
                "Message-ID": message_id,
                "Content-Language": context["locale"],
                # Without it, Gmail folds an email with the same text into the previous one.
                "X-Entity-Ref-ID": mime.digest(id),
                **original_to,
            },
        )

    def _unsubscribe_url(self, id: str, kind: str, content: Content) -> str:
        if self._unsubscribe_links is None or not self._unsubscribe_links.can_make:
            return ""
        subscription = Subscription(address=content.user.email.lower(), kind=kind, email_id=id)
        return self._unsubscribe_links.make(subscription)

    def _headers_of_email(
        self, id: str, unsubscribe_url: str, *, sender: SenderIdentity, kind: str
    ) -> list[Header]:
        """Return the headers that settings and kind add, with values of their own for each email.

        What MAILCTL_HEADERS says stands, unless it names one address for unsubscribing in all emails.
        """
        own, custom = id_headers(self._webhook_providers, id), self._custom_headers(sender, kind)
        given = {header.name.lower() for header in custom}
        headers = [Header(name, value) for name, value in own.items() if name.lower() not in given]
        if not unsubscribe_url:
            return [*headers, *custom]
        return [
            *headers,
            # One click, without a page between (RFC 8058).
            Header("List-Unsubscribe", f"<{unsubscribe_url}>"),
            Header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            *(each for each in custom if each.name.lower() not in _UNSUBSCRIBE_HEADERS),
        ]

    def _encoded(
        self, message: MessageSchema, sender: SenderIdentity, more_headers: Sequence[Header]
    ) -> bytes:
        """Return the bytes of a message.

        FastAPI-Mail's own encoding escapes links in plain text and lets display names inject recipients.
        """
        (recipient,) = message.recipients
        given = message.headers or {}
        headers = [
            Header("Date", given["Date"]),
            Header.mailbox("From", sender.address, display_name=sender.display_name),
            Header.mailbox("To", recipient.email, display_name=recipient.name),
            Header.text("Subject", message.subject),
            Header("Message-ID", given["Message-ID"]),
            Header("MIME-Version", "1.0"),
            Header("Auto-Submitted", "auto-generated"),  # RFC 3834
            Header("X-Auto-Response-Suppress", "All"),  # the equivalent for Exchange
            Header("Content-Language", given["Content-Language"]),
            Header("X-Entity-Ref-ID", given["X-Entity-Ref-ID"]),
            *(Header(name, given[name]) for name in (_ORIGINAL_TO_HEADER,) if name in given),
            *more_headers,
        ]
        return mime.build_multipart_alternative(
            headers, text=str(message.body), html=str(message.alternative_body)
        )

    def _custom_headers(self, sender: SenderIdentity, kind: str) -> list[Header]:
        values = ((header.name, header.value_for(kind)) for header in self._more_headers)
        headers = [Header(name, value) for name, value in values if value is not None]
        return [Header.mailbox("Reply-To", sender.reply_to), *headers] if sender.reply_to else headers

    def _render(
        self, kind: Kind, content: Content, context: Mapping[str, Json]
    ) -> tuple[RenderedBodies, str]:
        """Return the bodies of an email, and their language.

        They are those of its own template, or else of the template of its kind. An own template of the
        service that emails of a built-in kind cannot use does not stop them.
        """
        name = kind.template or validation.validate_template_name(content.template)
        language = str(context["locale"])
        if not self._templates.is_own(name):
            # The texts of the built-in kinds are English, whatever the language of the user.
            language = english_locale(language) if kind.template is not None else language
            return self._templates.render(name, {**context, "locale": language}), language
        try:
            return self._templates.render(name, {**user_variables(content.user), **context}), language
        except RenderError as error:
            if content.template is not None or kind.name not in BUILT_IN_KINDS:
                raise
            _log.warning("kind %s: mailctl's own template is used instead: %s", kind.name, error)
            language = english_locale(language)
            return self._templates.render_built_in(name, {**context, "locale": language}), language

    async def _make_urls(self, kind: Kind, content: Content, *, now: datetime) -> dict[str, str]:
        if self._links.may_block:
            return await asyncio.to_thread(self._links.make_urls, kind, content, now=now)
        return self._links.make_urls(kind, content, now=now)


def _shown_links(
    links: Mapping[str, str], context: Mapping[str, Json], unsubscribe_url: str
) -> dict[str, str]:
    action_url = context.get("action_url")
    shown = {**links, "action_url": action_url} if isinstance(action_url, str) else dict(links)
    return {**shown, "unsubscribe_url": unsubscribe_url} if unsubscribe_url else shown


@lru_cache(maxsize=64)
def _format_date_header(at: datetime) -> str:
    """Return a time in the format of the Date header (RFC 5322 section 3.3)."""
    return format_datetime(at.astimezone(UTC))
