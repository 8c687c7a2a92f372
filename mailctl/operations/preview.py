"""Emails to look at: composed like any other, with links that lead nowhere, and never recorded."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.samples import sample_content, with_dead_links
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Envelope, Json, User
    from mailctl.rendering.composer import Composer
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """What a preview is to show; what is left out is filled with samples."""

    kind: Kind
    user_id: str | None = None
    #: An address instead of a user.
    email: str | None = None
    #: Template variables that replace samples.
    variables: Mapping[str, Json] = field(default_factory=dict)
    #: For the generic kind: another template than that of the sample.
    template: str | None = None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A finished message that is not sent."""

    kind: Kind
    envelope: Envelope
    html: str


def make_preview(
    runtime: Runtime, wish: PreviewRequest, *, composer: Composer | None = None, at: datetime | None = None
) -> Preview:
    """Return what an email would look like, with sample links.

    Args:
        composer: one that has just read the templates; None takes that of this process.
        at: when it would be sent, with a time zone; None means now.

    Raises:
        InvalidInput: a variable is missing, or something is not usable.
        NotFound: there is no such user.
        RenderError: a template cannot be rendered.
        ServiceUnavailable: the user cannot be looked up.
    """
    content = _content(runtime, wish)
    composing = (composer or runtime.composer).preview(wish.kind, content, at=at or datetime.now(UTC))
    envelope = asyncio.run(composing)
    return Preview(kind=wish.kind, envelope=envelope, html=_html(envelope.data))


def _content(runtime: Runtime, wish: PreviewRequest) -> Content:
    sample = sample_content(wish.kind, page=runtime.settings.frontend_url)
    if wish.template is not None and wish.kind.template is not None:
        raise InvalidInput(
            "--template",
            f"an email of kind {wish.kind.name} has its own.",
            fix=f"Preview kind email with --template {wish.template}.",
        )
    template = sample.template if wish.template is None else validation.validate_template_name(wish.template)
    samples = sample.context
    if template is not None and template != sample.template:
        # Samples are for the template of their kind; what another does not use, it may not even take.
        used = runtime.composer.template_variables(template)
        samples = {name: value for name, value in samples.items() if name in used}
    checked = make_content(
        wish.kind,
        _user(runtime, wish, sample.user),
        origins=runtime.link_origins,
        context={**samples, **wish.variables},
        subject=sample.subject,
        template=template,
        catalog=runtime.catalog,
    )
    return with_dead_links(checked, wish.kind, frontend_url=runtime.settings.frontend_url)


def _user(runtime: Runtime, wish: PreviewRequest, sample: User) -> User:
    if wish.user_id is not None and wish.email is not None:
        raise InvalidInput("recipient", "is given twice.", fix="Give --user-id, or --email.")
    if wish.user_id is not None:
        return runtime.directory.get(wish.user_id)
    return sample if wish.email is None else make_user(email=wish.email)


def _html(data: bytes) -> str:
    part = email.message_from_bytes(data, policy=email.policy.default).get_body(("html",))
    return str(part.get_content()) if part is not None else ""
