"""The address of an email in a running dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import InvalidInput, ServiceUnavailable
from mailctl.operations.selection import find_ids
from mailctl.settings.connection_urls.parts import InvalidUrl
from mailctl.settings.connection_urls.web import parse_web_url

if TYPE_CHECKING:
    from mailctl.runtime import Runtime

#: Where `mailctl web` serves the dashboard by default.
DEFAULT_URL = "http://127.0.0.1:8025/"
_TIMEOUT_SECONDS = 3


def dashboard_address(runtime: Runtime, reference: str | None, *, url: str = DEFAULT_URL) -> str:
    """Return the address of the page of an email, or of the list of those that a text refers to.

    Args:
        runtime: the components of this process.
        reference: an id or the start of one, a Message-ID, an idempotency key, or an address; None for the
            overview.
        url: the address of the dashboard.

    Raises:
        InvalidInput: the URL is not one of http or https.
        NotFound: there is no such email.
        ServiceUnavailable: no dashboard answers at the URL.
    """
    base = _base(url)
    path = "/overview" if reference is None else _path(runtime, reference)
    _check_answer(base)
    return base + path


def _base(url: str) -> str:
    try:
        found = parse_web_url(url)
    except InvalidUrl as error:
        raise InvalidInput("--url", str(error), fix=f"Give one like {DEFAULT_URL}") from None
    return found.origin + found.path


def _path(runtime: Runtime, reference: str) -> str:
    ids = find_ids(runtime, [reference])
    return f"/emails/{quote(ids[0], safe='')}" if len(ids) == 1 else f"/emails?to={quote(reference)}"


def _check_answer(base: str) -> None:
    try:
        # The scheme was checked.
        with urlopen(f"{base}/healthz", timeout=_TIMEOUT_SECONDS):  # noqa: S310
            return
    except (URLError, OSError, ValueError) as error:
        raise ServiceUnavailable(
            f"No dashboard answers at {base}.",
            fix=f"Start it with `{mailctl_command('web')}`, or name the one that runs with --url.",
        ) from error
