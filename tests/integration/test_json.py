"""Every command with `--json` prints what its written schema says, in tests/data/schemas.

A new command gets a line in `COMMANDS` and a schema, or a place in `WITHOUT_JSON`.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from mailctl.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., tuple[int, str]]

SCHEMAS = Path(__file__).parent.parent / "data" / "schemas"
#: Command line, and the schemas of the objects that it prints: one for all lines, or one for each.
#: {id} is the id of an email, and users.csv a list of users with `name` and `title`.
COMMANDS = [
    ("send welcome --user-id 1 --user-id 2", "email"),
    ("send reset --user-id 1 --dry-run", "envelope"),
    ("send email --subject Hi --set body=x --users-file users.csv", "campaign-email campaign"),
    ("status {id}", "status"),
    ("list --limit 5", "listed"),
    ("stats", "stats"),
    ("stats --by hour --since 2d", "stats"),
    ("stats --since 2000-01-01T00:00Z --until 2000-01-02T00:00Z", "stats"),
    ("top --count 2 --interval 0.1", "overview overview"),
    *((f"preview {kind}", "preview") for kind in ("welcome", "new-ip", "email")),
    ("health", "health"),
    ("health --canary", "health"),
    ("monitor", "monitor"),
    ("check-config --offline", "check-config"),
    ("users list", "user"),
    ("users add zoe@example.com", "user"),
    ("users import users.csv", "import"),
    ("db current", "database"),
    ("db upgrade", "database"),
    ("prune", "pruned"),
    ("demo", "email"),
]
#: These print no JSON: they run until they are stopped, or have a form of their own.
WITHOUT_JSON = {"worker", "flower", "metrics"}


def validator(name: str) -> Draft202012Validator:
    """Return what checks an object against a schema, which may refer to others."""
    schemas = {file.name: json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (file, Resource.from_contents(schema)) for file, schema in schemas.items()
    )
    Draft202012Validator.check_schema(schemas[f"{name}.json"])
    return Draft202012Validator(schemas[f"{name}.json"], registry=registry)


@pytest.mark.parametrize(("line", "schemas"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_what_is_printed_fits_its_schema(run: Run, tmp_path: Path, line: str, schemas: str) -> None:
    """Each line of it, whether all is well or not; and nothing else is printed."""
    (tmp_path / "users.csv").write_text("email,username,name,title\nzoe@example.com,zoe,Zoe,Seat 4\n")
    _, out = run("send", "welcome", "--user-id", "1", "--json")
    words = shlex.split(line.format(id=json.loads(out)["task_id"]))
    code, out = run(*words, "--json")
    assert code in (0, 1), out
    printed, names = [json.loads(text) for text in out.splitlines()], schemas.split()
    assert printed
    if len(names) == 1:
        names *= len(printed)
    for found, name in zip(printed, names, strict=True):
        errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(found)]
        assert errors == []


def test_every_command_has_a_schema() -> None:
    """Or is known to print no JSON."""
    covered = {line.split(" --")[0] for line, _ in COMMANDS} | WITHOUT_JSON
    missing = [
        name
        for name in names_of(typer.main.get_command(app))
        if not any(f"{line} ".startswith(f"{name} ") for line in covered)
    ]
    assert [name for name in missing if not name.startswith("send ")] == []


def names_of(command: Any, prefix: str = "") -> Iterator[str]:
    """Yield the full name of every command that does something."""
    for name, found in getattr(command, "commands", {}).items():
        if hasattr(found, "commands"):
            yield from names_of(found, f"{prefix}{name} ")
        else:
            yield prefix + name
