"""Previews of emails: composed like any other email, but never recorded, and with links that do not work."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.domain.factory import make_content, make_user
from mailctl.domain.samples import sample_content
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Envelope, Json, User
    from mailctl.rendering.composer import Composer
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """The request for a preview; samples fill in whatever is not given."""

    kind: Kind
    user_id: str | None = None
    #: The address of the recipient, instead of a user.
    email: str | None = None
    #: Template variables that replace the sample values.
    variables: Mapping[str, Json] = field(default_factory=dict)
    #: The template of the generic kind, if not the sample's.
    template: str | None = None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A composed message that is not sent."""

    kind: Kind
    envelope: Envelope
    html: str


def make_preview(
    runtime: Runtime, request: PreviewRequest, *, composer: Composer | None = None, at: datetime | None = None
) -> Preview:
    """Return an email as it would look, with sample links.

    Args:
        request: what to show.
        composer: a composer that has just read the templates; None means the composer of this process.
        at: the time at which it would be sent, with a time zone; None means now.

    Raises:
        InvalidInput: a variable is missing, or a value is invalid.
        NotFound: the user does not exist.
        RenderError: a template cannot be rendered.
        ServiceUnavailable: the user cannot be looked up.
    """
    content = _content(runtime, request)
    composing = (composer or runtime.composer).preview(request.kind, content, at=at or datetime.now(UTC))
    envelope = asyncio.run(composing)
    return Preview(kind=request.kind, envelope=envelope, html=_html(envelope.data))


def _content(runtime: Runtime, request: PreviewRequest) -> Content:
    sample = sample_content(request.kind, page=runtime.settings.frontend_url)
    if request.template is not None and request.kind.template is not None:
        raise InvalidInput(
            "--template",
            f"does not apply to kind {request.kind.name}, which has a template of its own.",
            fix=f"Preview the kind `email` instead: --template {request.template}",
        )
    template = (
        sample.template if request.template is None else runtime.catalog.template_name(request.template)
    )
    samples = sample.context
    if template is not None and template != sample.template:
        # Samples belong to the template of their kind; another template may reject variables it does not use.
        used = runtime.composer.template_variables(template)
        samples = {name: value for name, value in samples.items() if name in used}
    checked = make_content(
        request.kind,
        _user(runtime, request, sample.user),
        origins=runtime.link_origins,
        context={**samples, **request.variables},
        subject=sample.subject,
        template=template,
        catalog=runtime.catalog,
    )
    return replace(checked, urls=runtime.links.sample_urls(request.kind))


def _user(runtime: Runtime, request: PreviewRequest, sample: User) -> User:
    if request.user_id is not None and request.email is not None:
        raise InvalidInput("recipient", "is given twice.", fix="Give either --user-id or --email.")
    if request.user_id is not None:
        return runtime.directory.get(request.user_id)
    return sample if request.email is None else make_user(email=request.email)


def _html(data: bytes) -> str:
    part = email.message_from_bytes(data, policy=email.policy.default).get_body(("html",))
    return str(part.get_content()) if part is not None else ""
