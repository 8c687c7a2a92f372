"""The generated parts by name, and the pages that ask for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docs.generators import commands, house, http_api, json_schemas, python_api, settings, states, wire

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATORS: dict[str, Callable[[], str]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        commands.commands,
        commands.exit_codes,
        commands.shared_options,
        house.house_picture,
        house.house_table,
        http_api.http_api,
        json_schemas.json_objects,
        python_api.python_api,
        settings.settings,
        states.reason_codes,
        states.state_diagram,
        states.states,
        states.transitions,
        wire.kinds,
        wire.wire_tasks,
    )
}
#: The place of a part; the lines up to the second comment are for those who read the source of the page.
PLACE = re.compile(
    r"^<!-- generated: (?P<name>[\w-]+) -->$(?:\n(?P<source_only>(?:>.*\n)+)<!-- /generated -->$)?",
    re.MULTILINE,
)


def fill(markdown: str) -> str:
    """Return a page with its generated parts.

    Raises:
        KeyError: a part is asked for that nothing generates.
    """
    return PLACE.sub(lambda place: GENERATORS[place["name"]](), markdown)
