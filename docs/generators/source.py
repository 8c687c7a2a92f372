"""What only the source of a class says: the `#:` comment of each member."""

from __future__ import annotations

import inspect
import re

_MEMBER = re.compile(r"^    (?P<name>\w+)(?:: [^=#]+)?(?: = [^#]+?)?(?:  #: (?P<comment>.+)|  # .*)?$")
_COMMENT = re.compile(r"^    #: ?(?P<text>.*)$")


def member_comments(cls: type) -> dict[str, str]:
    """Return the comment of each member of a class, before it or behind it; "" where there is none."""
    found: dict[str, str] = {}
    before: list[str] = []
    for line in inspect.getsource(cls).splitlines():
        if comment := _COMMENT.match(line):
            before.append(comment["text"])
        elif member := _MEMBER.match(line):
            found[member["name"]] = member["comment"] or " ".join(before)
            before = []
        else:
            before = []
    return found
