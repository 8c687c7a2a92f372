"""The documents are complete: what the code has, its reference has; what they link to exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

import mailctl
from docs.generators import commands, http_api, settings
from docs.generators.parts import GENERATORS, PLACE, fill
from docs.generators.source import member_comments
from mailctl import tasks
from mailctl.diagnosis import attempt_causes, our_faults
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.settings import Settings
from mailctl.views.schemas import SCHEMAS
from tests.acceptance.blocks import DOCUMENTS

ROOT = Path(mailctl.__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
#: A file or a module in a text for developers, such as `worker/relay`, `mailctl/tasks.py` or `tests/unit`.
_PLACE_IN_TREE = re.compile(r"`(?P<path>(?:[a-z_]+/)+(?:[a-z_]+(?:\.py)?)?)`")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def text_of(document: Path) -> str:
    """Return a document as its readers get it."""
    return fill(document.read_text())


def anchors_of(document: Path) -> set[str]:
    """Return what a link to a part of a document may name."""
    titles = (found["title"] for found in _HEADING.finditer(_FENCE.sub("", text_of(document))))
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower())) for title in titles}


def test_every_part_that_is_generated_has_its_place() -> None:
    """And each place names one that is."""
    asked = {found["name"] for document in DOCUMENTS for found in PLACE.finditer(document.read_text())}
    assert asked == set(GENERATORS)


def test_readers_of_the_source_are_told_where_a_generated_part_is() -> None:
    """Its place would look empty to them; on the site the words are gone."""
    words = "> Generated when the site is built"
    for document in DOCUMENTS:
        for place in PLACE.finditer(document.read_text()):
            assert (place["source_only"] or "").startswith(words), place["name"]
        assert words not in text_of(document)


def test_every_command_is_in_the_reference() -> None:
    """With each of its options."""
    text = text_of(REFERENCE / "commands.md")
    every = list(commands.every_command())
    assert len(every) > 40
    for words, command, context in every:
        assert f"\n## {words}\n" in text
        for parameter in command.get_params(context):
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert parameter.opts[0] in text, words


def test_every_command_that_ctrl_c_ends_with_success_is_named() -> None:
    """The others exit with 130: the reference says so in one paragraph."""
    text = (REFERENCE / "commands.md").read_text()
    [paragraph] = [each for each in text.split("\n\n") if each.startswith("Commands that only watch")]
    for words, command, _ in commands.every_command():
        success = re.search(r"^ *0  .*(?:Ctrl-C|stopped)", command.help or "", re.M)
        name = (
            words.removeprefix("mailctl ").replace("flower flower", "flower").replace(" list list", " list")
        )
        assert success is None or f"`{name}" in " ".join(paragraph.split()), words


def test_every_setting_is_in_the_reference_and_in_the_example() -> None:
    """With what it is for, and the default that the code has."""
    examples = {each.name: each for each in settings.examples()}
    assert set(examples) == {name.upper() for name in Settings.model_fields}
    assert [name for name, example in examples.items() if not example.text] == []
    text = text_of(REFERENCE / "settings.md")
    assert [name for name in examples if f"\n### {name}\n" not in text] == []


def test_the_example_shows_the_defaults() -> None:
    """Whoever copies it changes nothing."""
    lines = (line for line in settings.EXAMPLE.read_text().splitlines() if line and not line.startswith("#"))
    given = dict(line.split("=", 1) for line in lines)
    assert Settings.model_validate(given) == Settings()


def test_every_json_object_is_in_the_reference() -> None:
    """With each of its keys."""
    text = text_of(REFERENCE / "json.md")
    for name, schema in SCHEMAS.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        keys = set(schema.generate()["properties"]) - {"schema"}
        assert [key for key in sorted(keys) if f"`{key}`" not in section] == [], name


def test_every_task_and_kind_is_in_the_reference() -> None:
    """Other programs rely on them."""
    text = text_of(REFERENCE / "wire.md")
    for kind in BUILT_IN_KINDS.values():
        assert f"`{kind.task}`" in text
        assert f"`{kind.name}`" in text
    own = [getattr(tasks, name).name for name in ("deliver", "deliver_batch")]
    assert [name for name in own if f"`{name}`" not in text] == []


def test_every_public_name_is_in_the_reference() -> None:
    """With a docstring."""
    text = text_of(REFERENCE / "python.md")
    for name in mailctl.__all__:
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert len(section.strip()) > 40, name


def test_every_path_of_the_http_api_is_in_the_reference() -> None:
    """The pages for people are not."""
    text = http_api.http_api()
    for path in ("/healthz", "/api/emails", "/api/queues", "/metrics"):
        assert f"`GET {path}`" in text


def test_every_cause_is_in_the_reference() -> None:
    """Programs read their names."""
    names = {
        keyword.value.value
        for path in (ROOT / "mailctl" / "diagnosis").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Cause"
        for keyword in node.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    }
    assert len(names) > 25
    names |= {*attempt_causes._EXPLANATIONS, *(name for name, _ in our_faults._CAUSES.values())}
    text = text_of(REFERENCE / "causes.md")
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("values", [State, ReasonCode], ids=lambda values: values.__name__)
def test_every_code_has_a_meaning(values: type[State | ReasonCode]) -> None:
    """It stands beside the value in the code, and the documents take it from there."""
    comments = member_comments(values)
    assert [each.name for each in values if not comments[each.name] and each.name not in PLAIN] == []


#: Codes whose name says it all.
PLAIN = {"UNSPECIFIED"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """To a file that is there, and to a heading in it."""
    broken = []
    for found in _LINK.finditer(_FENCE.sub("", document.read_text())):
        path, _, anchor = unquote(found["target"]).partition("#")
        target = (document.parent / path).resolve() if path else document
        if path.startswith("http"):
            continue
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(found["target"])
    assert broken == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"])
def test_every_file_that_developers_are_sent_to_exists(name: str) -> None:
    """Also those that are named as modules of the package."""
    paths = [found["path"] for found in _PLACE_IN_TREE.finditer((ROOT / name).read_text())]
    places = (ROOT, ROOT / "mailctl", ROOT / "mailctl" / "delivery_log")
    assert paths
    assert [path for path in paths if not any(exists(place / path) for place in places)] == []


def exists(path: Path) -> bool:
    """Whether there is a file, a folder or a module at a path."""
    return path.exists() or path.with_name(f"{path.name}.py").exists()


def test_every_attack_of_the_threat_model_has_a_test() -> None:
    """A row of the table names files that exist; one attacker is held by nothing."""
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][1:]
    untested = [row for row in rows if "`tests/" not in row]
    assert len(rows) > 20
    assert [row.split("|")[1].strip() for row in untested] == [
        "has `SECRET_KEY`, or runs code as the service"
    ]
    named = re.findall(r"`(tests/[a-z_/]+\.py)`", "\n".join(rows))
    assert not [name for name in named if not (ROOT / name).exists()]
