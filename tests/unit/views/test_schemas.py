"""The JSON Schemas of what commands print."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mailctl.errors import InvalidInput
from mailctl.views.campaigns import CampaignEmailView
from mailctl.views.schemas import SCHEMAS, find_schema
from tests.command_line import parse


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_describes_objects_completely(name: str) -> None:
    """It is valid; every key is required, and no other is allowed: in all objects that it contains."""
    schema = find_schema(name).generate()
    Draft202012Validator.check_schema(schema)
    for each in (schema, *_object_definitions(schema)):
        assert set(each["required"]) == set(each["properties"])
        assert each["additionalProperties"] is False


def _object_definitions(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in schema.get("$defs", {}).values() if each["type"] == "object"]


def test_every_schema_has_the_version_of_the_format() -> None:
    """The field is not part of the views: the command line adds it to every object."""
    for name in SCHEMAS:
        assert find_schema(name).generate()["properties"]["schema"]["const"] == "mailctl/1"


def test_objects_are_checked_by_it() -> None:
    """A missing key and a wrong type are found."""
    view = CampaignEmailView(task_id="e1", to="zoe@example.com", campaign="spring").as_json()
    validator = Draft202012Validator(find_schema("campaign-email").generate())
    assert validator.is_valid({"schema": "mailctl/1", **view})
    assert not validator.is_valid(view)
    assert not validator.is_valid({"schema": "mailctl/1", **view, "to": None})


def test_times_have_the_pattern_of_utc() -> None:
    """A reader need not expect any other zone."""
    times = find_schema("email").generate()["properties"]["created_at"]
    assert (times["format"], times["pattern"][-2:]) == ("date-time", "Z$")


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    """The fix lists them."""
    with pytest.raises(InvalidInput, match="'nothing' is not a schema") as refused:
        find_schema("nothing")
    assert "status, diagnosis" in refused.value.fix


@pytest.mark.parametrize("command", sorted({line for each in SCHEMAS.values() for line in each.commands}))
def test_the_commands_that_it_names_exist(command: str) -> None:
    """The list tells which command prints what."""
    words = command.partition(" --")[0].split()
    assert parse([*words, "--help"]) == {}


def test_no_view_has_two_names() -> None:
    """One object, one schema."""
    views = [schema.view for schema in SCHEMAS.values()]
    assert len(set(views)) == len(views)
