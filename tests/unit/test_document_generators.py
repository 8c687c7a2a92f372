"""The generators of the documents, on small examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from docs.generators import parts, sentences, states
from docs.generators.commands import description
from docs.generators.house import House, find_cycles
from docs.generators.json_schemas import describe_type
from docs.generators.markdown import code, table
from docs.generators.python_api import docstring_text
from docs.generators.source import member_comments
from mailctl.domain.states import State

if TYPE_CHECKING:
    from typing import Any


def house(**imports: str) -> House:
    """Return a house of parts, each with the names of those that it imports."""
    return House(
        imports={part: frozenset(found.split()) for part, found in imports.items()},
        sizes={},
        packages=frozenset(),
        cycles=frozenset(),
    )


def test_a_table_has_one_line_a_row_and_a_column_a_cell() -> None:
    """A line break in a cell, or a bar in code, would end the cell."""
    assert table(["a", "b"], [[code("x|y"), "two\nlines"]]).splitlines()[2] == (
        "| <code>x&#124;y</code> | two lines |"
    )


def test_examples_in_a_help_text_become_a_block() -> None:
    """Other paragraphs are text."""
    text = "Do it.\n\n\b\nExamples:\n  mailctl list\n  mailctl top"
    assert description(text) == "Do it.\n\nExamples:\n\n```text\nmailctl list\nmailctl top\n```"


def test_each_part_stands_above_those_that_it_imports() -> None:
    """Also above those that it imports through others."""
    assert house(cli="web log", web="log", log="", errors="").levels == [["cli"], ["web"], ["errors", "log"]]


def test_imports_that_follow_from_others_are_left_out() -> None:
    """The picture would be a web otherwise."""
    assert house(cli="web log", web="log", log="").direct_imports["cli"] == {"web"}


def test_parts_that_import_each_other_are_found() -> None:
    """Also in a larger circle."""
    imports = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("a"), "d": frozenset("a")}
    assert find_cycles(imports) == {frozenset("abc")}
    assert find_cycles({"a": frozenset("b"), "b": frozenset()}) == frozenset()


class Colours:
    """A class with comments of each sort."""

    #: Warm,
    #: and bright.
    red: str = "red"
    blue: str = "blue"  #: cold
    green: str = "green"  # one that readers do not need


def test_the_comment_of_a_member_stands_before_or_behind_it() -> None:
    """Other comments are not for readers."""
    comments = member_comments(Colours)
    assert (comments["red"], comments["blue"], comments["green"]) == ("Warm, and bright.", "cold", "")


def test_sections_of_a_docstring_become_lists() -> None:
    """Of arguments and of errors; the rest stays prose."""
    text = docstring_text("Do it.\n\nArgs:\n    name: the name,\n        in full.\n\nReturns:\n    The id.\n")
    assert text == "Do it.\n\n**Args**\n\n- `name`: the name,\nin full.\n\n**Returns**\n\nThe id.\n"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number or null"),
        ({"enum": ["ok", "fail"]}, '`"ok"` or `"fail"`'),
        ({"$ref": "#/$defs/time"}, "time (UTC, ISO 8601)"),
        ({"type": "array", "items": {"type": "string"}}, "array of string"),
        ({"type": "object", "properties": {"code": {}}}, "object with `code`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_type_is_said_in_a_few_words(schema: dict[str, Any], words: str) -> None:
    """As a reader of JSON would say it."""
    definitions = {"time": {"type": "string", "format": "date-time"}}
    assert describe_type(schema, definitions) == words


def test_the_state_diagram_shows_every_state() -> None:
    """A new one finds its place by its transitions."""
    picture = states.state_diagram()
    assert [state for state in State if f">{state}</text>" not in picture] == []


def test_a_page_that_asks_for_nothing_known_is_refused() -> None:
    """Instead of being published with a hole."""
    with pytest.raises(KeyError):
        parts.fill("<!-- generated: nothing -->")


def test_every_text_that_people_read_is_in_one_file() -> None:
    """Help, sentences of the code, pages and emails; neither SQL nor docstrings."""
    lines = list(sentences.sentences())
    for text in (
        "==== mailctl queue list --help",
        "==== mailctl/web/server.py",
        "{port} is already in use.",
        "==== mailctl/web/templates/overview.html",
        "==== mailctl/templates/reset.txt",
        "You are signed out: reload the page.",
    ):
        assert text in lines
    assert not [line for line in lines if line.startswith("SELECT ")]
    assert '"""' not in "".join(lines)
