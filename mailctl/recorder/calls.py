"""A call of an own task, and the emails that it sends."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from kombu.utils import json as kombu_json

from mailctl.domain import validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.domain.task_mapping import call_for_one, read_call
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Draft, Json
    from mailctl.domain.task_mapping import CallFacts, OwnTask

#: The maximum number of emails that are recorded for one call.
MAX_RECIPIENTS = 100
#: The maximum length of stored arguments, in characters; without them the call cannot be repeated.
_MAX_ARGUMENTS = 262_144


@dataclass(frozen=True, kw_only=True)
class OwnCall:
    """A call of an own task, as its message contains it."""

    #: The Celery task id, a valid id of an email.
    id: str
    task: OwnTask
    facts: CallFacts
    #: The arguments as JSON values, and the names of the parameters; None if they cannot be stored.
    arguments: tuple[list[Json], dict[str, Json]] | None
    parameters: tuple[str, ...]
    queue: str
    not_before: datetime | None = None
    expires_at: datetime | None = None


def make_call(
    task: OwnTask,
    task_id: object,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    parameters: Sequence[str],
    queue: str,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
) -> OwnCall | None:
    """Return a call with copies of its arguments, which its caller may change later.

    Args:
        task: the called task.
        task_id: the Celery task id.
        args: the positional arguments.
        kwargs: the named arguments.
        parameters: the names of the task's parameters, in order; empty if this process does not know them.
        queue: the queue of the message.
        not_before: the ETA of the message.
        expires_at: when the message expires.

    Returns:
        The call; None if the task id cannot be the id of an email.
    """
    try:
        email_id = validation.validate_email_id(task_id)
    except InvalidInput:
        return None
    return OwnCall(
        id=email_id,
        task=task,
        facts=read_call(task, args, kwargs, parameters=parameters),
        arguments=_as_json(args, kwargs),
        parameters=tuple(parameters),
        queue=queue,
        not_before=not_before,
        expires_at=expires_at,
    )


def drafts_of(call: OwnCall, kind: Kind, *, now: datetime) -> list[Draft]:
    """Return the emails that a call sends: one for each recipient, and at least one.

    Args:
        call: the call.
        kind: the kind of its emails.
        now: the current time.
    """
    request = EmailRequest(kind=kind, not_before=call.not_before, expires_at=call.expires_at)
    recipients = _recipients(call)
    contents = [_content(call, raw, address, among=len(recipients)) for raw, address in recipients.items()]
    return make_drafts(request, contents, queue=call.queue, now=now, first_id=call.id)


def _recipients(call: OwnCall) -> dict[str, str]:
    """Return the addresses of a call, by the argument that holds each; one empty address for none."""
    found: dict[str, str] = {}
    for raw in call.facts.addresses:
        address = _address(raw)
        if address and address not in found.values():
            found[raw] = address
    return dict(list(found.items())[:MAX_RECIPIENTS]) or {"": ""}


def _address(raw: str) -> str:
    try:
        return validate_address(parseaddr(raw)[1])
    except InvalidInput:
        return ""


def _content(call: OwnCall, raw: str, address: str, *, among: int) -> Content:
    user = User(email=address, id=_user_id(call.facts.user_id))
    content = Content(user=user, urls=call.facts.links)
    if call.arguments is None:
        return content
    args, kwargs = call.arguments
    kept: tuple[Any, Any] = (args, kwargs)
    if among > 1:
        kept = call_for_one(call.task, args, kwargs, raw, parameters=call.parameters)
    return replace(content, call={"task": call.task.name, "args": kept[0], "kwargs": kept[1]})


def _user_id(value: object) -> str | None:
    if value is None:
        return None
    try:
        return validation.validate_user_id(str(value) if isinstance(value, uuid.UUID) else value)
    except InvalidInput:
        return None


def _as_json(
    args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[list[Json], dict[str, Json]] | None:
    """Return copies of arguments as JSON values; None if they are not JSON, or too long."""
    try:
        text = json.dumps([list(args), dict(kwargs)], cls=kombu_json.JSONEncoder)
        if len(text) > _MAX_ARGUMENTS:
            return None
        copied_args, copied_kwargs = json.loads(text, parse_constant=_refuse_constant)
    except (TypeError, ValueError, RecursionError):
        return None
    return copied_args, copied_kwargs


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
