"""A proof of a kind of email: what it looks like with a sample or a real user, and what is wrong with it."""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.errors import RenderError
from mailctl.operations.preview import PreviewRequest, make_preview
from mailctl.rendering.composer import Composer
from mailctl.rendering.templates import MAX_HTML
from mailctl.web.contrast import MIN_RATIO, find_low_contrast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.catalog import Kind
    from mailctl.runtime import Runtime

_HREF = re.compile(r"""<a\b[^>]*?\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_GOOD_LINK = re.compile(r"(?:https?://[^\s/]+|mailto:[^\s@]+@[^\s@]+|tel:\+?[\d-]+)", re.IGNORECASE)
_EXTERNAL_RESOURCE = re.compile(
    r"""<(?:img|link|script|iframe)\b[^>]*?(?:src|href)\s*=\s*["']?(https?://[^\s"'>]+)""", re.I
)
_GROUP = CheckGroup(name="preview")


@dataclass(frozen=True, kw_only=True)
class CheckedPreview:
    """A message that nobody gets."""

    kind: Kind
    subject: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    html: str = ""
    source: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def version(self) -> str:
        """Something that changes with what is to be seen; not with the time at which one looks."""
        seen = [self.subject, self.text, self.html, *(finding.detail for finding in self.findings)]
        return hashlib.sha256("\0".join(seen).encode()).hexdigest()[:16]


def check_preview(
    runtime: Runtime, kind: Kind, *, user_id: str | None, at: datetime | None = None
) -> CheckedPreview:
    """Return what an email of a kind looks like now: templates are read anew each time.

    Args:
        user_id: whose name and address are in it; None takes a sample's.
        at: when it would be sent; None means today, at the first minute.

    Raises:
        NotFound: there is no such user.
        ServiceUnavailable: the user cannot be looked up.
        ConfigurationError: the settings do not let any email be composed.
    """
    # Not that of this process: it has compiled its templates.
    composer = Composer(runtime.settings, runtime.links, catalog=runtime.catalog)
    moment = at or datetime.now(UTC).replace(hour=0, minute=1, second=0, microsecond=0)
    try:
        made = make_preview(runtime, PreviewRequest(kind=kind, user_id=user_id), composer=composer, at=moment)
    except RenderError as error:
        return CheckedPreview(kind=kind, findings=(_GROUP.error("template", error),))
    message = email.message_from_bytes(made.envelope.data, policy=email.policy.default)
    return CheckedPreview(
        kind=kind,
        subject=made.envelope.subject,
        headers=tuple((name, str(value)) for name, value in message.items()),
        text=made.envelope.text,
        html=made.html,
        source=made.envelope.data.decode("ascii", "replace"),
        findings=tuple(_findings(made.html, size=len(made.envelope.data))),
    )


def with_color_scheme(html: str, *, dark: bool) -> str:
    """Return the HTML as somebody sees it who prefers dark, or light, whatever the browser prefers."""
    media = "all" if dark else "not all"
    return re.sub(r"\(\s*prefers-color-scheme:\s*dark\s*\)", media, html)


def _findings(html: str, *, size: int) -> Iterator[Finding]:
    yield _GROUP.ok("template", "every variable is there")
    yield _size(len(html.encode()), whole=size)
    yield from _links(html)
    yield from _contrast(html)


def _size(octets: int, *, whole: int) -> Finding:
    detail = f"{octets:,} bytes of HTML, {whole:,} in all"
    if octets > MAX_HTML * 3 // 4:
        return _GROUP.warn("size", detail, fix="Shorten it: Gmail cuts a message off at about 102,000.")
    return _GROUP.ok("size", detail)


def _links(html: str) -> Iterator[Finding]:
    links = [one or other for one, other in _HREF.findall(html)]
    bad = [link for link in links if not _GOOD_LINK.match(link)]
    if bad:
        yield _GROUP.fail(
            "links", f"lead nowhere: {', '.join(sorted(set(bad)))}", fix="Give whole addresses."
        )
    else:
        yield _GROUP.ok("links", f"{len(links)}, all of them whole addresses")
    if loaded := sorted(set(_EXTERNAL_RESOURCE.findall(html))):
        fix = "Most mail programs block this, and it tells others who reads: do without."
        yield _GROUP.warn("loads", ", ".join(loaded), fix=fix)


def _contrast(html: str) -> Iterator[Finding]:
    for dark, name in ((False, "contrast, light"), (True, "contrast, dark")):
        faint = find_low_contrast(html, dark=dark)
        if faint:
            worst = min(faint, key=lambda each: each.ratio)
            detail = f"{worst.ratio}:1, {worst.color} on {worst.background}: “{worst.text}”"
            yield _GROUP.warn(name, detail, fix=f"WCAG AA asks for {MIN_RATIO}:1.")
        else:
            yield _GROUP.ok(name, f"{MIN_RATIO}:1 or better everywhere")
