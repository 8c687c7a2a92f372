"""The shape of the package: few parts, one direction of imports, modules of one purpose."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

from docs.generators.house import PACKAGE, ROOT, counts, modules_by_change, read_house

#: Names that say nothing of what is inside.
GRAB_BAGS = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common|stuff)(_|$)")
MAX_LINES = 400
#: Words that are none of this field, or inversions that a native speaker would not write.
ODD_WORDS = re.compile(
    r"\b(anew|aught|exhibits?|lest|mend(s|ed)?|rehearsals?|rubbish|thereof|upon which|veils?|whence|whom"
    r"|wish(es)?|witness(es)?|workforce)\b",
    re.IGNORECASE,
)
DECISIONS = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.BoolOp, ast.Match, ast.comprehension)
#: Modules with fewer decisions only pass on what others decide.
FEW = 5
#: Modules without unit tests of their own, and what proves them.
PROVED_ELSEWHERE = {
    "checks/partitions.py": "tests/integration/test_partition_command.py, on PostgreSQL",
    "cli/commands/": "tests/acceptance/every_command.py and tests/integration: they parse, call and print",
    "cli/terminal/console.py": "tests/acceptance/test_terminal_controls.py, in a terminal",
    "cli/terminal/progress.py": "tests/integration/test_control_characters.py",
    "delivery_log/campaign_rates.py": "tests/integration/test_campaigns.py, on SQLite and PostgreSQL",
    "delivery_log/queries/accepted.py": "tests/acceptance/test_feedback_by_mail.py, with the log of Postfix",
    "delivery_log/queries/campaign_stats.py": "tests/integration/test_campaign_commands.py",
    "delivery_log/queries/failed_attempts.py": "tests/integration/test_finding.py",
    "delivery_log/report_effects.py": "tests/unit/delivery_log/test_feedback_reports.py",
    "delivery_log/rollup.py": "tests/integration/delivery_log/test_rollup.py",
    "delivery_log/storage/migrations/": "tests/integration/test_log_schema.py, on SQLite and PostgreSQL",
    "delivery_log/storage/notifications.py": "tests/integration/test_new_email_watch.py, on PostgreSQL",
    "delivery_log/storage/partitions/": "tests/integration/delivery_log/partitions, on PostgreSQL",
    "delivery_log/storage/utc_time.py": "tests/integration/test_log_wording.py, on SQLite and PostgreSQL",
    "monitoring/incident/evidence.py": "tests/acceptance/test_incidents.py",
    "monitoring/incident/services.py": "tests/acceptance/test_incidents.py",
    "operations/bulk_actions.py": "tests/integration/test_acting_commands.py",
    "operations/partitioning.py": "tests/integration/test_partition_command.py, on PostgreSQL",
    "recorder/missing_messages.py": "tests/unit/recorder/test_task_watch.py",
    "users/__init__.py": "tests/unit/users/test_directories.py",
    "web/pages/emails.py": "tests/integration/web/test_pages.py",
    "web/request_deadlines.py": "tests/integration/web/test_request_deadlines.py, over real connections",
    "worker/full_messages.py": "tests/integration/test_full_messages.py, on Redis",
    "worker/redis_list_watch.py": "tests/integration/test_redis_pop.py",
    "worker/redis_pop.py": "tests/integration/test_redis_pop.py",
}
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))


def test_no_parts_import_each_other() -> None:
    """Neither directly nor through others, so that each can be read after what it imports."""
    assert read_house().cycles == frozenset()


def test_the_house_stays_small() -> None:
    """Somebody new can hold it in mind; `python -m docs.generators.house` prints the figures."""
    found = counts()
    assert found["files at the top"] <= 14, found
    assert found["packages"] <= 20, found
    assert found["layers that import-linter checks"] <= 15, found
    assert found["lines of a function, median"] <= 8, found
    assert found["lines of a function, 90th percentile"] <= 22, found


def test_what_has_to_be_opened_for_a_change_is_there() -> None:
    """With the names to look for, in few modules: docs/architecture.md says so to somebody new."""
    changes = modules_by_change()
    assert len(changes) >= 12
    for change, places in changes.items():
        assert 0 < len(places) <= 5, change
        for path, name in places:
            assert path.exists(), path
            assert not name or re.search(rf"\b{name}\b", path.read_text()), (change, path, name)


def test_every_module_that_decides_has_unit_tests() -> None:
    """In the file that mirrors it, unless other tests prove it with the real parts, as said above."""
    missing = [
        path for path in map(_relative, MODULES) if not _has_unit_tests(path) and _decisions(path) >= FEW
    ]
    unproved = [path for path in missing if not any(path.startswith(each) for each in PROVED_ELSEWHERE)]
    assert unproved == []
    assert [each for each in PROVED_ELSEWHERE if not any(path.startswith(each) for path in missing)] == []
    proofs = re.findall(r"tests/[a-z_/]+(?:\.py)?", " ".join(PROVED_ELSEWHERE.values()))
    assert [each for each in proofs if not (ROOT / each).exists()] == []


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT / PACKAGE))


def _has_unit_tests(module: str) -> bool:
    path = Path(module)
    name = path.parent.name if path.name == "__init__.py" else path.stem
    return (ROOT / "tests" / "unit" / path.parent / f"test_{name}.py").exists()


def _decisions(module: str) -> int:
    nodes = ast.walk(ast.parse((ROOT / PACKAGE / module).read_text()))
    return sum(isinstance(node, DECISIONS) for node in nodes)


def test_each_package_says_what_it_is_for() -> None:
    """In the docstring of its `__init__.py`, which is its line in docs/architecture.md."""
    files = [path for path in MODULES if path.name == "__init__.py"]
    assert [path for path in files if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_module_is_too_long() -> None:
    """Longer ones hold two nouns."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in MODULES
        if "migrations" not in path.parts
    }
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_no_module_is_a_grab_bag() -> None:
    """The name of a module says which noun it holds."""
    assert [path for path in MODULES if GRAB_BAGS.search(path.stem)] == []


def test_one_class_name_means_one_thing() -> None:
    """But for the two faces of the service, asynchronous and synchronous, which have the same methods."""
    trees = (ast.parse(path.read_text()) for path in MODULES)
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == ["EmailService"]


def test_the_words_are_those_of_the_field() -> None:
    """Somebody who searches for the standard term finds it."""
    places = [*MODULES, *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / ".env.example"]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in places if path.name != "CHANGELOG.md"}
    found = {path: match[0] for path, text in texts.items() if (match := ODD_WORDS.search(text))}
    assert found == {}
