"""Previews of the kinds of email, and checks of their size, links and contrast."""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.templates import check_own_template
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.errors import RenderError
from mailctl.operations.preview import Preview, PreviewRequest, make_preview
from mailctl.rendering.composer import Composer
from mailctl.rendering.templates import MAX_HTML
from mailctl.web.contrast import MIN_RATIO, find_low_contrast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.catalog import Kind
    from mailctl.runtime import Runtime

_HREF = re.compile(r"""<a\b[^>]*?\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_ABSOLUTE_LINK = re.compile(r"(?:https?://[^\s/]+|mailto:[^\s@]+@[^\s@]+|tel:\+?[\d-]+)", re.IGNORECASE)
_EXTERNAL_RESOURCE = re.compile(
    r"""<(?:img|link|script|iframe)\b[^>]*?(?:src|href)\s*=\s*["']?(https?://[^\s"'>]+)""", re.IGNORECASE
)
_COLOR_SCHEME_QUERY = re.compile(r"\(\s*prefers-color-scheme:\s*dark\s*\)")
_GROUP = CheckGroup(name="preview")


@dataclass(frozen=True, kw_only=True)
class CheckedPreview:
    """A preview of a kind of email and the findings about it; empty if the template cannot be rendered."""

    kind: Kind
    subject: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    html: str = ""
    #: The whole message (RFC 5322).
    source: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def version(self) -> str:
        """A hash that changes with the content and the findings, but not with time."""
        parts = [self.subject, self.text, self.html, *(finding.detail for finding in self.findings)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def check_preview(
    runtime: Runtime, kind: Kind, *, user_id: str | None, at: datetime | None = None
) -> CheckedPreview:
    """Return a preview of a kind from its current template, with findings.

    Args:
        runtime: the parts of this process.
        kind: the kind of email.
        user_id: the user who is the recipient; None uses sample data.
        at: the time of sending; None means the first minute of the current day.

    Raises:
        NotFound: there is no such user.
        ServiceUnavailable: the user cannot be looked up.
        ConfigurationError: the settings do not allow composing emails.
    """
    # A new composer: that of the runtime caches its compiled templates.
    composer = Composer(runtime.settings, runtime.links, catalog=runtime.catalog)
    at = at or datetime.now(UTC).replace(hour=0, minute=1, second=0, microsecond=0)
    try:
        preview = make_preview(runtime, PreviewRequest(kind=kind, user_id=user_id), composer=composer, at=at)
    except RenderError as error:
        return CheckedPreview(kind=kind, findings=(_GROUP.error("template", error),))
    envelope = preview.envelope
    message = email.message_from_bytes(envelope.data, policy=email.policy.default)
    return CheckedPreview(
        kind=kind,
        subject=envelope.subject,
        headers=tuple((name, str(value)) for name, value in message.items()),
        text=envelope.text,
        html=preview.html,
        source=envelope.data.decode("ascii", "replace"),
        findings=tuple(_findings(composer, preview)),
    )


def _findings(composer: Composer, preview: Preview) -> Iterator[Finding]:
    kind = preview.kind
    if kind.name in BUILT_IN_KINDS and kind.template is not None:
        yield from check_own_template(composer, kind, kind.template)
    yield from check_html(preview.html, message_size=len(preview.envelope.data))


def with_color_scheme(html: str, *, dark: bool) -> str:
    """Return HTML that is shown in dark or in light mode, whatever the browser prefers."""
    return _COLOR_SCHEME_QUERY.sub("all" if dark else "not all", html)


def check_html(html: str, *, message_size: int) -> Iterator[Finding]:
    """Check the HTML part of a message.

    Args:
        html: the HTML part.
        message_size: bytes of the whole message.

    Yields:
        The findings.
    """
    yield _GROUP.ok("template", "all variables are defined")
    yield _check_size(len(html.encode()), message_size=message_size)
    yield _check_links(html)
    yield from _check_external_resources(html)
    yield _check_contrast(html, dark=False)
    yield _check_contrast(html, dark=True)


def _check_size(html_size: int, *, message_size: int) -> Finding:
    detail = f"{html_size:,} bytes of HTML, {message_size:,} bytes in total"
    if html_size > MAX_HTML * 3 // 4:
        return _GROUP.warn("size", detail, fix="Shorten it: Gmail clips messages at about 102,000 bytes.")
    return _GROUP.ok("size", detail)


def _check_links(html: str) -> Finding:
    links = [double_quoted or single_quoted for double_quoted, single_quoted in _HREF.findall(html)]
    broken = sorted({link for link in links if not _ABSOLUTE_LINK.match(link)})
    if broken:
        detail = f"not absolute URLs: {', '.join(broken)}"
        return _GROUP.fail("links", detail, fix="Use absolute URLs.")
    return _GROUP.ok("links", f"{len(links)}, all of them absolute URLs")


def _check_external_resources(html: str) -> Iterator[Finding]:
    if resources := sorted(set(_EXTERNAL_RESOURCE.findall(html))):
        fix = "Remove them: most mail clients block external resources, and they reveal who reads the email."
        yield _GROUP.warn("external resources", ", ".join(resources), fix=fix)


def _check_contrast(html: str, *, dark: bool) -> Finding:
    name = f"contrast, {'dark' if dark else 'light'}"
    texts = find_low_contrast(html, dark=dark)
    if not texts:
        return _GROUP.ok(name, f"at least {MIN_RATIO}:1 everywhere")
    worst = min(texts, key=lambda text: text.ratio)
    detail = f"{worst.ratio}:1, {worst.color} on {worst.background}: “{worst.text}”"
    return _GROUP.warn(name, detail, fix=f"WCAG AA requires {MIN_RATIO}:1.")
