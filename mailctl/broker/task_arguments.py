"""Conversion between an email and the arguments of its Celery task, in both directions.

Other programs publish and consume these messages: the names of tasks and arguments are a contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kombu.utils import json as kombu_json

from mailctl.domain.catalog import BUILT_IN_CATALOG, GENERIC
from mailctl.domain.factory import make_content, make_user, parse_recipient
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.domain.models import Content, Json, User

#: The only argument of a message that refers to a row of the delivery log.
REFERENCE_ARGUMENT = "email_id"
#: The number of recipients that one message may name.
MAX_RECIPIENTS = 100


def to_arguments(kind: Kind, content: Content, *, urls: Mapping[str, str]) -> dict[str, Json]:
    """Return the arguments of the task of a kind.

    Args:
        kind: the kind of the email.
        content: what the email says.
        urls: the URLs of its links, by the name of the variable.
    """
    if kind is GENERIC:
        recipient = {"name": content.user.first_name or content.user.username, "email": content.user.email}
        return {
            "subject": content.subject,
            "recipients": [recipient],
            "template_name": content.template,
            "context": dict(content.context),
        }
    variables = {name: content.context[name] for name in kind.variables}
    return {"user_data": _user_data(content.user), **variables, **urls}


def recorded_arguments(content: Content) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of the recorded call of a service's own task, of the types that it passed.

    Args:
        content: the content of an email that such a task sends.
    """
    call = json.loads(json.dumps(content.call), object_hook=kombu_json.object_hook)
    return list(call["args"]), dict(call["kwargs"])


def from_arguments(
    kind: Kind, arguments: Mapping[str, Json], *, origins: frozenset[str], catalog: Catalog = BUILT_IN_CATALOG
) -> list[Content]:
    """Return the contents that the arguments of a task ask for, one for each recipient.

    Args:
        kind: the kind of the task.
        arguments: the named arguments of the task.
        origins: the origins that links in the arguments may have.
        catalog: the kinds that exist.

    Raises:
        InvalidInput: an argument is missing or invalid.
        ConfigurationError: the service's own kinds cannot be loaded.
    """
    if kind is GENERIC:
        return _generic_contents(arguments, origins=origins, catalog=catalog)
    user_data = _mapping(arguments.get("user_data"), field="user_data")
    user = make_user(
        email=user_data.get("email"),
        id=user_data.get("id"),
        username=user_data.get("username"),
        first_name=user_data.get("first_name"),
    )
    urls = {link.variable: _required(arguments, link.variable) for link in kind.links}
    context = {name: _required(arguments, name) for name in kind.variables}
    return [make_content(kind, user, urls=urls, context=context, origins=origins)]


def _generic_contents(
    arguments: Mapping[str, Json], *, origins: frozenset[str], catalog: Catalog
) -> list[Content]:
    recipients = arguments.get("recipients")
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise InvalidInput("recipients", f"is not a list of 1 to {MAX_RECIPIENTS} recipients.")
    return [
        make_content(
            GENERIC,
            parse_recipient(recipient),
            context=arguments.get("context"),
            subject=arguments.get("subject"),
            template=arguments.get("template_name"),
            origins=origins,
            catalog=catalog,
        )
        for recipient in recipients
    ]


def _user_data(user: User) -> dict[str, Json]:
    names = {"username": user.username, "email": user.email, "first_name": user.first_name}
    return names if user.id is None else {"id": user.id, **names}


def _required(arguments: Mapping[str, Json], name: str) -> Json:
    if arguments.get(name) in (None, ""):
        raise InvalidInput(name, "is missing.")
    return arguments[name]


def _mapping(value: Json, *, field: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidInput(field, "is not an object with named fields.")
    return value
