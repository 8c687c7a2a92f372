"""The kinds of email that a service registers: by MAILCTL_CATALOG, or by an entry point of its package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.domain.catalog import ALWAYS_ALLOWED_VARIABLES, BUILT_IN_KINDS, DELIVER_TASK, Catalog, Kind
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.plugins import load_object, summarize_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.settings import Settings

#: Where a package registers a kind, or several.
ENTRY_POINT_GROUP = "mailctl.kinds"
_SETTING = "MAILCTL_CATALOG"
_DEFAULT_ATTRIBUTE = "KINDS"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_PATH = re.compile(r"/[\x21-\x7e]*")
_QUEUE = re.compile(r"[A-Za-z0-9._:-]{1,200}")
#: What templates have of every email, and what its context therefore cannot bring.
_RESERVED_VARIABLES = frozenset(
    {
        "project_name",
        "frontend_url",
        "subject",
        "greeting_name",
        "recipient_email",
        "expires_in",
        "expires_at",
    }
)
_FIX = "See docs/how-to/own-kinds.md."


def catalog_from_settings(settings: Settings) -> Catalog:
    """Return the kinds of a process with these settings; the service's own are loaded when asked for."""
    return Catalog(partial(_load, settings.mailctl_catalog))


def _load(spec: str) -> Sequence[Kind]:
    """Return the service's own kinds, checked.

    Raises:
        ConfigurationError: they cannot be imported, or one is not usable.
    """
    found: dict[str, Kind] = {}
    for source, kind in (*_from_setting(spec), *_from_entry_points()):
        if problem := _problem(kind):
            raise ConfigurationError(f"{source}: kind {kind.name!r}: {problem}.", fix=_FIX)
        # The same object may come both ways.
        if found.setdefault(kind.name, kind) is not kind:
            raise ConfigurationError(f"{source}: kind {kind.name!r} is registered twice.", fix="Rename one.")
    return tuple(found.values())


def _from_setting(spec: str) -> Iterator[tuple[str, Kind]]:
    if spec:
        place = spec if ":" in spec else f"{spec}:{_DEFAULT_ATTRIBUTE}"
        yield from _kinds_in(load_object(place, setting=_SETTING), source=f"{_SETTING}={spec}")


def _from_entry_points() -> Iterator[tuple[str, Kind]]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        source = f"entry point {point.name} ({point.value})"
        try:
            loaded = point.load()
        except Exception as error:
            raise ConfigurationError(
                f"{source}: cannot be imported: {summarize_error(error)}.",
                fix="Mend or uninstall its package.",
            ) from error
        yield from _kinds_in(loaded, source=source)


def _kinds_in(value: object, *, source: str) -> Iterator[tuple[str, Kind]]:
    if isinstance(value, Kind):
        value = [value]
    elif isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{source}: is no list of kinds of email.", fix=_FIX)
    for kind in value:
        if not isinstance(kind, Kind):
            raise ConfigurationError(
                f"{source}: holds a {type(kind).__name__}, which is no mailctl.Kind.", fix=_FIX
            )
        yield source, kind


def _problem(kind: Kind) -> str:
    """Return what keeps a kind from being used; "" if nothing does."""
    if not isinstance(kind.name, str) or not _NAME.fullmatch(kind.name):
        return "the name is not made of a-z, digits and -"
    if kind.name in BUILT_IN_KINDS:
        return "mailctl has a kind of this name; choose another"
    if kind.task != DELIVER_TASK:
        return "a task is for mailctl's own kinds; leave it out"
    if not kind.subject or not kind.template:
        return "it has no subject or no template"
    if kind.lifetime.total_seconds() <= 0:
        return "its lifetime is not a positive length of time"
    if kind.queue and not _QUEUE.fullmatch(kind.queue):
        return f"{kind.queue!r} is not the name of a queue"
    return _problem_with_variables(kind) or _problem_with_links(kind)


def _problem_with_variables(kind: Kind) -> str:
    if isinstance(kind.variables, str) or isinstance(kind.optional, str):
        return 'its variables are one text; write ("name",)'
    variables = (*kind.variables, *(kind.optional or ()))
    try:
        validation.validate_template_name(kind.template)
        for name in variables:
            validation.validate_variable_name(name)
        printed = kind.subject_variables
    except (InvalidInput, ValueError) as error:
        return str(error).rstrip(".")
    if taken := sorted(_RESERVED_VARIABLES.intersection(variables)):
        return f"{taken[0]} is a variable that every email has; name yours otherwise"
    if unknown := sorted(printed - {"project_name", *kind.variables}):
        return f"its subject prints {unknown[0]}, which is not among its variables"
    if unknown := sorted(set(kind.samples).difference(variables, ALWAYS_ALLOWED_VARIABLES)):
        return f"it has a sample of {unknown[0]}, which is not among its variables"
    return ""


def _problem_with_links(kind: Kind) -> str:
    for link in kind.links:
        if not _PATH.fullmatch(link.path) or link.path.startswith("//"):
            return f"the link {link.variable} has a path that does not begin with one /"
        if link.lifetime.total_seconds() <= 0:
            return f"the link {link.variable} has no lifetime"
        if link.variable in kind.variables or not link.variable.isidentifier():
            return f"the link {link.variable} has the name of another variable, or none"
    return ""
