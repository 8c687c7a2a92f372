"""Checks that the service's own migrations leave the tables of the delivery log alone."""

from __future__ import annotations

import ast
from configparser import ConfigParser, Error
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.delivery_log.storage.schema_version import has_service_migrations
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.settings import Settings

_GROUP = CheckGroup(name="log")
_NAME = "alembic"
#: Where Alembic and Flask-Migrate put their files, unless `alembic.ini` says otherwise.
_DEFAULT_FOLDERS = ("alembic", "migrations")
_HOOK = "mailctl.alembic.include_object"


def check_migrations(settings: Settings, log: Engine) -> Iterator[Finding]:
    """Check the `env.py` of a service that keeps the delivery log in a database which it migrates itself.

    Args:
        settings: the folder of their `.env` file is taken for the folder of the service.
        log: the engine of the delivery log.
    """
    try:
        if not call_with_deadline(lambda: has_service_migrations(log), service="The delivery log"):
            return
    except MailctlError as error:
        yield _GROUP.error(_NAME, error)
        return
    folder = settings.env_file.absolute().parent
    files = [path for path in _env_files(folder) if path.is_file()]
    if not files:
        detail = f"the service migrates this database with Alembic; its env.py, not found here, needs {_HOOK}"
        yield _GROUP.skip(_NAME, detail)
    for path in files:
        yield _finding(path)


def _finding(path: Path) -> Finding:
    if _mentions_mailctl(path.read_text(encoding="utf-8", errors="replace")):
        return _GROUP.ok(_NAME, f"{path} leaves the tables of mailctl alone")
    return _GROUP.warn(
        _NAME,
        f"The delivery log is in a database of the service, and {path} does not know its tables:"
        " `alembic revision --autogenerate` would write statements that drop them.",
        fix=f"In {path.name}, pass include_object={_HOOK} to context.configure()",
    )


def _mentions_mailctl(source: str) -> bool:
    """Whether code other than imports and comments names mailctl, its tables, or an object imported from it.

    How the code uses them is up to the service: it may combine the hook with a hook of its own.
    """
    try:
        found = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return False
    imported = {
        alias.asname or alias.name
        for node in found
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mailctl")
        for alias in node.names
    }
    names = {node.id for node in found if isinstance(node, ast.Name)}
    texts = (node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return "mailctl" in names or bool(names & imported) or any("mailctl" in text for text in texts)


def _env_files(folder: Path) -> list[Path]:
    """Return where the service's `env.py` may be."""
    names = [_configured_folder(folder)] if (folder / "alembic.ini").is_file() else _DEFAULT_FOLDERS
    return [folder / name / "env.py" for name in names]


def _configured_folder(folder: Path) -> str:
    parser = ConfigParser(defaults={"here": str(folder)})
    try:
        parser.read(folder / "alembic.ini", encoding="utf-8")
        return parser.get("alembic", "script_location", fallback=_DEFAULT_FOLDERS[0])
    except (Error, UnicodeDecodeError):
        return _DEFAULT_FOLDERS[0]
