"""The paths of action links: those of the kinds, or what MAILCTL_LINK_PATHS sets for a purpose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from mailctl.domain.link_validation import url_origin, validate_action_url
from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.domain.catalog import Link

_SETTING = "MAILCTL_LINK_PATHS"
#: Stands for the token in a path.
_PLACEHOLDER = "{token}"


class LinkPaths:
    """Builds the URLs of action links.

    Args:
        base: FRONTEND_URL.
        paths: for some purposes, the path with its query, in which `{token}` stands for the token; without
            it, the token is the parameter `t`.
    """

    def __init__(self, base: str, paths: Mapping[str, str]) -> None:
        self._base = base.rstrip("/")
        self._paths = {purpose: _with_placeholder(path) for purpose, path in paths.items()}

    @property
    def purposes(self) -> frozenset[str]:
        """The purposes whose paths are set."""
        return frozenset(self._paths)

    def url(self, link: Link, token: str) -> str:
        """Return the URL of a link with a token."""
        path = self._paths.get(link.purpose) or _with_placeholder(link.path)
        before, _, after = path.partition(_PLACEHOLDER)
        return f"{self._base}{before}{quote(token, safe='')}{after}"

    def token_patterns(self) -> list[re.Pattern[str]]:
        """Return patterns of URLs whose path holds a token; the group `token` is that token."""
        patterns = []
        for path in self._paths.values():
            before, _, _ = path.partition(_PLACEHOLDER)
            if "?" not in before and "#" not in before:
                start = re.escape(self._base + before)
                patterns.append(re.compile(rf"(?<={start})(?P<token>[\w.~%=+:-]+)"))
        return patterns


def parse_link_paths(text: str, *, base: str) -> LinkPaths:
    """Return the paths of MAILCTL_LINK_PATHS.

    Args:
        text: PURPOSE=PATH, comma-separated, such as `reset-password=/reset?token={token}`.
        base: FRONTEND_URL.

    Raises:
        ConfigurationError: an entry has another form, its path is not one, or a purpose has two paths.
    """
    paths: dict[str, str] = {}
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        purpose, _, path = (part.strip() for part in entry.partition("="))
        if not purpose or purpose in paths:
            raise _invalid(entry, "each entry must be PURPOSE=PATH, one for each purpose")
        paths[purpose] = _checked_path(path, base=base)
    return LinkPaths(base, paths)


def _checked_path(path: str, *, base: str) -> str:
    if not path.startswith("/") or path.startswith("//"):
        raise _invalid(path, "a path must start with one slash")
    if path.count(_PLACEHOLDER) > 1 or set("{}") & set(path.replace(_PLACEHOLDER, "")):
        raise _invalid(path, "a path may contain {token} once, and no other braces")
    if _PLACEHOLDER not in path and set("?#") & set(path):
        raise _invalid(path, "a path with a query must say where the token is: {token}")
    example = base.rstrip("/") + path.replace(_PLACEHOLDER, "token")
    try:
        validate_action_url(example, origins=frozenset({url_origin(base)}))
    except (InvalidInput, ValueError):
        raise _invalid(path, "a path must have no spaces, quotes, backslashes or dot segments") from None
    return path


def _invalid(value: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{_SETTING} {value!r}: {reason}.",
        fix="Give a value such as reset-password=/reset?token={token},verify-email=/verify/{token}",
    )


def _with_placeholder(path: str) -> str:
    return path if _PLACEHOLDER in path else f"{path}?t={_PLACEHOLDER}"
