"""The service's own email tasks: which kind each one sends, and which arguments hold the recipients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, Kind
from mailctl.errors import ConfigurationError
from mailctl.settings.plugins import load_object

if TYPE_CHECKING:
    from mailctl.settings import Settings

_SETTING = "MAILCTL_TASKS"
_FIX = "See docs/how-to/keep-your-own-tasks.md."
_KIND_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_FIELDS = frozenset({"kind", "address", "user_id", "link"})
#: The lifetime of emails of a kind that only MAILCTL_TASKS names.
_DEFAULT_LIFETIME = timedelta(days=5)
#: The maximum number of parts of a path.
_MAX_DEPTH = 10


@dataclass(frozen=True, kw_only=True)
class OwnTask:
    """A task of the service that sends email, and the paths to the arguments that the delivery log records.

    A path is the name or position of an argument, then names of fields and positions: `to`, `0`,
    `message.to`. A list without a position stands for each of its elements.
    """

    #: The name of the Celery task.
    name: str
    #: The name of the kind of its emails.
    kind: str
    #: The paths to the addresses of the recipients; none if only the task itself knows them.
    addresses: tuple[str, ...] = ()
    #: The path to the service's id of the user; "" if no argument has it.
    user_id: str = ""
    #: The paths to links that grant access, which expire with the email.
    links: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CallFacts:
    """The facts about emails in the arguments of one call of an own task."""

    addresses: tuple[str, ...] = ()
    user_id: object = None
    links: Mapping[str, str] = field(default_factory=dict)


def _wire_task(kind: Kind) -> OwnTask:
    if kind is GENERIC:
        return OwnTask(name=kind.task, kind=kind.name, addresses=("recipients.email",))
    return OwnTask(
        name=kind.task,
        kind=kind.name,
        addresses=("user_data.email",),
        user_id="user_data.id",
        links=tuple(link.variable for link in kind.links),
    )


#: Tasks with the names and arguments of mailctl's tasks.
WIRE_TASKS: Mapping[str, OwnTask] = {kind.task: _wire_task(kind) for kind in BUILT_IN_KINDS.values()}


def own_tasks_from_settings(settings: Settings) -> Mapping[str, OwnTask]:
    """Return the tasks in MAILCTL_TASKS and those with the names of mailctl's tasks, by name.

    Raises:
        ConfigurationError: MAILCTL_TASKS cannot be imported, or is not a usable mapping.
    """
    return {**WIRE_TASKS, **mapped_tasks(settings)}


def mapped_tasks(settings: Settings) -> Mapping[str, OwnTask]:
    """Return the tasks in MAILCTL_TASKS, by name; raises what `own_tasks_from_settings` raises."""
    spec = settings.mailctl_tasks
    if not spec:
        return {}
    mapping = load_object(spec, setting=_SETTING)
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(f"{_SETTING} {spec}: this is not a mapping of task names.", fix=_FIX)
    return {str(name): _parse(name, fields) for name, fields in mapping.items()}


def recorded_kinds(settings: Settings) -> Mapping[str, Kind]:
    """Return the kinds that only MAILCTL_TASKS names, by name; raises what `own_tasks_from_settings` raises.

    Emails of such a kind are recorded, listed and retried, but mailctl cannot compose them.
    """
    return {
        task.kind: Kind(
            name=task.kind,
            subject=None,
            template=None,
            task=task.name,
            lifetime=_DEFAULT_LIFETIME,
            summary=f"sent by the task {task.name}",
            optional=None,
        )
        for task in mapped_tasks(settings).values()
        if task.kind not in BUILT_IN_KINDS
    }


def read_call(
    task: OwnTask, args: Sequence[object], kwargs: Mapping[str, object], *, parameters: Sequence[str] = ()
) -> CallFacts:
    """Return the facts in the arguments of a call, as far as they contain them.

    Args:
        task: the called task.
        args: the positional arguments.
        kwargs: the named arguments.
        parameters: the names of the task's parameters, in order; empty if this process does not know them.
    """
    named: dict[str, object] = {str(place): value for place, value in enumerate(args)}
    named |= dict(zip(parameters, args, strict=False)) | dict(kwargs)
    addresses = (value for path in task.addresses for value in _resolve(named, path))
    links = ((path.rpartition(".")[2], value) for path in task.links for value in _resolve(named, path))
    return CallFacts(
        addresses=tuple(dict.fromkeys(value for value in addresses if isinstance(value, str))),
        user_id=next(iter(_resolve(named, task.user_id)), None) if task.user_id else None,
        links={name: value for name, value in links if isinstance(value, str)},
    )


def call_for_one(
    task: OwnTask,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    address: str,
    *,
    parameters: Sequence[str] = (),
) -> tuple[list[object], dict[str, object]]:
    """Return the arguments of a call for one recipient, without the others in its lists.

    Args:
        task: the called task.
        args: the positional arguments.
        kwargs: the named arguments.
        address: the recipient that stays.
        parameters: the names of the task's parameters, in order.
    """
    kept_args, kept_kwargs = list(args), dict(kwargs)
    for path in task.addresses:
        first, *rest = path.split(".")
        place = list(parameters).index(first) if first in parameters else -1
        place = int(first) if first.isdigit() else place
        if first in kept_kwargs:
            kept_kwargs[first] = _only(kept_kwargs[first], rest, address)
        elif 0 <= place < len(kept_args):
            kept_args[place] = _only(kept_args[place], rest, address)
    return kept_args, kept_kwargs


def _only(value: object, parts: Sequence[str], address: str) -> object:
    """Return a value without the list elements of other addresses."""
    if isinstance(value, list | tuple) and not (parts and parts[0].isdigit()):
        return [_only(each, parts, address) for each in value if address in _below(each, parts)]
    if isinstance(value, Mapping) and parts and parts[0] in value:
        return {**value, parts[0]: _only(value[parts[0]], parts[1:], address)}
    return value


def _resolve(named: Mapping[str, object], path: str) -> list[object]:
    """Return the values at a path."""
    return _below(named, path.split(".")[:_MAX_DEPTH])


def _below(value: object, parts: Sequence[str]) -> list[object]:
    found = [value]
    for part in parts:
        found = [below for each in found for below in _descend(each, part)]
    return [element for each in found for element in _elements(each)]


def _descend(value: object, part: str) -> Sequence[object]:
    if isinstance(value, Mapping):
        return [value[part]] if part in value else []
    if isinstance(value, list | tuple):
        if part.isdigit():
            return value[int(part) :][:1]
        return [below for each in value for below in _descend(each, part)]
    return []


def _elements(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _parse(name: object, fields: object) -> OwnTask:
    """Return the mapping of one task.

    Raises:
        ConfigurationError: it is not usable.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{_SETTING}: {name!r} is not the name of a task.", fix=_FIX)
    if not isinstance(fields, Mapping):
        raise ConfigurationError(f"{_SETTING}: task {name}: this is not a mapping of fields.", fix=_FIX)
    if unknown := sorted(str(each) for each in fields if each not in _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise ConfigurationError(
            f"{_SETTING}: task {name}: there is no field {unknown[0]}; use {known}.", fix=_FIX
        )
    kind = fields.get("kind", GENERIC.name)
    if not isinstance(kind, str) or not _KIND_NAME.fullmatch(kind):
        problem = "its kind must consist of a-z, digits and -, and start with a letter."
        raise ConfigurationError(f"{_SETTING}: task {name}: {problem}", fix=_FIX)
    user_ids = _paths(name, "user_id", fields.get("user_id"))
    return OwnTask(
        name=name,
        kind=kind,
        addresses=_paths(name, "address", fields.get("address")),
        user_id=user_ids[0] if user_ids else "",
        links=_paths(name, "link", fields.get("link")),
    )


def _paths(task: str, name: str, value: object) -> tuple[str, ...]:
    given = [] if value is None else [value] if isinstance(value, str | int) else value
    if isinstance(given, list | tuple) and all(isinstance(each, str | int) and each != "" for each in given):
        return tuple(str(each) for each in given)
    raise ConfigurationError(
        f"{_SETTING}: task {task}: {name} must be the name of an argument, or a list of names.", fix=_FIX
    )
