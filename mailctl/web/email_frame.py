"""The frame that shows the HTML part of an email: its document, and the policy of the page around it.

The document is in the page itself (`srcdoc`), because a service that includes the dashboard may forbid frames
for all its responses (`X-Frame-Options: DENY`). Such a document inherits the policies of its page.
"""

from __future__ import annotations

import re

from mailctl.web.routing import PAGE_CSP
from mailctl.web.templating import ExactText

#: The Content-Security-Policy of a page with a frame. Emails have inline styles, and the frame inherits the
#: policy.
FRAME_PAGE_CSP = PAGE_CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
#: The policy of the document in the frame, whatever the page around it allows: no scripts, no requests.
_EMAIL_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'"
#: Links open a window, which the sandbox of the frame forbids.
_DOCUMENT_START = (
    f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{_EMAIL_CSP}"><base target="_blank">'
)
#: Elements for which a browser connects to a host before it asks the policy (`rel=preconnect` does not ask it
#: at all), which tells the author of the email who reads it. In an email, they show nothing.
_CONNECTING = re.compile(r"<(?=(?:link|i?frame|object|embed)\b)", re.IGNORECASE)
_NO_HTML = "<title>No HTML part</title>"


def frame_document(html: str) -> ExactText:
    """Return the document for the attribute `srcdoc` of a frame with `sandbox=""`.

    It runs no scripts, loads nothing and connects to no host, also where the page around it allows that.

    Args:
        html: the HTML part of an email, or "" if it has none.
    """
    # The policy comes first, because it applies to what follows it. A second doctype is ignored.
    return ExactText(_DOCUMENT_START + (_CONNECTING.sub("<x-", html) or _NO_HTML))
