"""The reference of the tasks that other programs publish and consume, and of the kinds they carry."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from docs.generators.markdown import code, table
from mailctl import tasks
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind


def wire_tasks() -> str:
    """Return a table of the tasks, by the name that a message carries."""
    return table(["task", "arguments", "kind"], (_task(kind) for kind in BUILT_IN_KINDS.values()))


def _task(kind: Kind) -> list[str]:
    function = getattr(tasks, kind.task).run
    names = [name for name in inspect.signature(function).parameters if name != REFERENCE_ARGUMENT]
    return [code(kind.task), ", ".join(code(name) for name in names), code(kind.name)]


def kinds() -> str:
    """Return a table of the built-in kinds."""
    heads = ["kind", "what it is for", "subject", "sent within", "link variables"]
    return table(heads, (_kind(kind) for kind in BUILT_IN_KINDS.values()))


def _kind(kind: Kind) -> list[str]:
    links = ", ".join(f"{code(link.variable)} ({format_duration(link.lifetime)})" for link in kind.links)
    subject = code(kind.subject) if kind.subject else "given with each email"
    return [code(kind.name), kind.summary, subject, format_duration(kind.lifetime), links]
