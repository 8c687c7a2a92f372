"""Messages that fail validation: what they say is kept, and validated again when the email is composed.

Perhaps a setting of this installation was wrong, such as FRONTEND_URL, and the message was right.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mailctl.broker.task_arguments import MAX_RECIPIENTS, from_arguments
from mailctl.domain import address_validation, validation
from mailctl.domain.catalog import GENERIC, effective_kind
from mailctl.domain.link_validation import url_origin
from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput, LinkNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.domain.models import Json

#: The argument that names the recipients of a generic email.
_RECIPIENTS = "recipients"


@dataclass(frozen=True, kw_only=True)
class ArgumentRules:
    """The values that this installation accepts in the arguments of a task."""

    #: The origins that links may lead to.
    origins: frozenset[str]
    catalog: Catalog
    #: Why no link can be accepted, whatever it is; "" if links can.
    links_problem: str = ""

    def contents(self, kind: Kind, arguments: Mapping[str, Json]) -> list[Content]:
        """Return the contents that arguments ask for; see `from_arguments`.

        Raises:
            InvalidInput: an argument is invalid.
            ConfigurationError: the custom kinds cannot be loaded, or the settings accept no link.
        """
        try:
            return from_arguments(kind, arguments, origins=self.origins, catalog=self.catalog)
        except LinkNotAllowed:
            if not self.links_problem:
                raise
            raise self.unusable_links() from None

    def require_usable_links(self, kind: Kind, content: Content) -> None:
        """Check that no link of an email leads to a FRONTEND_URL that nobody can use.

        Args:
            kind: the kind of the email.
            content: its validated content.

        Raises:
            ConfigurationError: one does, or would when it is made.
        """
        if not self.links_problem:
            return
        kind = effective_kind(kind, content.template)
        is_made_later = content.template is None and any(
            link.variable not in content.urls for link in kind.links
        )
        if is_made_later or any(url_origin(url) not in self.origins for url in content.urls.values()):
            raise self.unusable_links()

    def unusable_links(self) -> ConfigurationError:
        """Return the error that no link can be right with these settings."""
        return ConfigurationError(
            self.links_problem, fix="Set FRONTEND_URL to the https address of the service."
        )


@dataclass(frozen=True, kw_only=True)
class InvalidPart:
    """A part of a message that cannot be sent: all of it, or the email to one of its recipients."""

    content: Content
    reason: str


@dataclass(frozen=True, kw_only=True)
class ParsedMessage:
    """The emails that a message asks for."""

    #: Those that can be sent, or will be when the settings are corrected.
    contents: list[Content] = field(default_factory=list)
    invalid: list[InvalidPart] = field(default_factory=list)


def parse_message(kind: Kind, arguments: Mapping[str, Json], rules: ArgumentRules) -> ParsedMessage:
    """Return the emails that the arguments of a task ask for; an invalid recipient does not stop the others.

    Args:
        kind: the kind of the task.
        arguments: the named arguments of the task.
        rules: what this installation accepts.
    """
    parsed = ParsedMessage()
    for part in _parts(kind, arguments):
        try:
            parsed.contents.extend(rules.contents(kind, part))
        except InvalidInput as error:
            content = unvalidated_content(kind, part)
            parsed.invalid.append(InvalidPart(content=content, reason=str(error)))
        except ConfigurationError:
            parsed.contents.append(unvalidated_content(kind, part))
    return parsed


def _parts(kind: Kind, arguments: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """Yield the arguments for each recipient; all of them if they do not name a list of recipients."""
    recipients = arguments.get(_RECIPIENTS)
    if kind is GENERIC and isinstance(recipients, list) and 1 < len(recipients) <= MAX_RECIPIENTS:
        yield from ({**arguments, _RECIPIENTS: [recipient]} for recipient in recipients)
    else:
        yield arguments


def unvalidated_content(kind: Kind, arguments: Mapping[str, Json]) -> Content:
    """Return a content that keeps the arguments of a task as they came, with the recipient that they name.

    Args:
        kind: the kind of the task.
        arguments: the arguments, perhaps not even those of the task.
    """
    return Content(
        user=_named_user(arguments),
        template=_named_template(arguments) if kind is GENERIC else None,
        unvalidated=dict(arguments) if _is_json(arguments) else {},
    )


def usable_email_id(task_id: object) -> str:
    """Return the id of the email of a message: its task id, or one derived from it if that is no valid id."""
    try:
        return validation.validate_email_id(task_id)
    except InvalidInput:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(task_id)))


def validated_content(kind: Kind, content: Content, rules: ArgumentRules) -> Content:
    """Return a content that can be sent: the arguments that it keeps are validated now, as are the links.

    Args:
        kind: the kind of the email.
        content: what the delivery log has; returned as it is if it was validated before and its links can
            be used.
        rules: what this installation accepts.

    Raises:
        InvalidInput: an argument is invalid.
        ConfigurationError: the settings do not allow validating it, or make links that nobody can use.
    """
    if not content.unvalidated:
        rules.require_usable_links(kind, content)
        return content
    # An email whose template makes it another kind came as a generic one.
    kind = GENERIC if content.template is not None else kind
    [validated] = rules.contents(kind, content.unvalidated)
    return replace(validated, trace=content.trace)


def _named_user(arguments: Mapping[str, Json]) -> User:
    """Return the recipient that arguments name; an address that is invalid is kept if it can be printed."""
    recipients = arguments.get(_RECIPIENTS)
    found = recipients[0] if isinstance(recipients, list) and len(recipients) == 1 else None
    fields = arguments.get("user_data") if isinstance(arguments.get("user_data"), Mapping) else found
    if not isinstance(fields, Mapping):
        return User(email="")
    return User(email=_named_address(fields.get("email")), id=_named_id(fields.get("id")))


def _named_address(value: Json) -> str:
    try:
        return address_validation.validate_address(value)
    except InvalidInput:
        is_printable = isinstance(value, str) and value.isascii() and value.isprintable()
        return value if is_printable and len(value) <= address_validation.MAX_ADDRESS else ""


def _named_id(value: Json) -> str | None:
    try:
        return None if value is None else validation.validate_user_id(value)
    except InvalidInput:
        return None


def _named_template(arguments: Mapping[str, Json]) -> str | None:
    try:
        return validation.validate_template_name(arguments.get("template_name"))
    except InvalidInput:
        return None


def _is_json(arguments: Mapping[str, Json]) -> bool:
    """Whether arguments can be stored."""
    try:
        json.dumps(arguments, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
