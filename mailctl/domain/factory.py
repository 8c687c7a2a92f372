"""Builds validated emails from what callers pass: the same checks for commands, calls and messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.domain import link_validation, validation
from mailctl.domain.address_validation import validate_address
from mailctl.domain.catalog import (
    ALWAYS_ALLOWED_VARIABLES,
    BUILT_IN_CATALOG,
    BUILT_IN_LINK_VARIABLES,
    effective_kind,
    is_security_template,
    required_variables,
)
from mailctl.domain.email_ids import following_email_id, new_email_id
from mailctl.domain.link_expiry import given_links_expiry
from mailctl.domain.models import Content, Draft, User
from mailctl.domain.template_context import LinkRules, validate_variables
from mailctl.errors import InvalidInput, suggest_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.domain.models import Json
    from mailctl.domain.request import EmailRequest

#: Characters of a stored name; longer ones are dropped, as they are never printed in a greeting.
_MAX_STORED_NAME = 200
_LOCALE = "locale"
#: The fields that errors name.
_USER = "user"
_RECIPIENTS = "recipients"
_MISSING = object()
#: A mailbox with a display name, as RFC 5322 writes it; the parts are validated on their own.
_NAMED_ADDRESS = re.compile(r"(?P<name>[^<>]{1,300})<(?P<email>[^<>]{1,300})>\s*")


def make_user(*, email: object, id: object = None, username: object = "", first_name: object = "") -> User:
    """Return a validated user.

    Args:
        email: the email address.
        id: the service's id of the user, a number, a UUID or a string; None if the user has none.
        username: printed in the greeting if it is safe there.
        first_name: printed instead of the username.

    Raises:
        InvalidInput: the address or the id is invalid.
    """
    return User(
        email=validate_address(email),
        id=None if id is None else validation.validate_user_id(id),
        username=_name(username),
        first_name=_name(first_name),
    )


def read_user(value: object) -> User:
    """Return the user that an object of the service describes.

    Args:
        value: an object with `email` and `id`, and perhaps `username` and `first_name`; an id that is None,
            as before the service has stored the user, counts as none.

    Raises:
        InvalidInput: an attribute is missing, cannot be read or is invalid.
    """
    for name in ("email", "id"):
        if _attribute(value, name, field=_USER, default=_MISSING) is _MISSING:
            raise InvalidInput(
                _USER, f"has no {name}.", fix="Give an object with id, email and optionally username."
            )
    return make_user(
        email=_attribute(value, "email", field=_USER),
        id=_attribute(value, "id", field=_USER),
        username=_attribute(value, "username", field=_USER),
        first_name=_attribute(value, "first_name", field=_USER),
    )


def make_recipient(*, email: object, name: object = "", id: object = None) -> User:
    """Return a recipient that a call, a list or a message names, instead of a user of the service.

    Args:
        email: the email address.
        name: the display name, also printed in the greeting if it is safe there; None or "" for none.
        id: the service's id of the user; None if there is none.

    Raises:
        InvalidInput: a value is invalid.
    """
    checked = "" if name is None else validation.validate_display_name(name, field="recipients.name")
    return make_user(email=email, id=id, first_name=checked)


def parse_recipient(value: object) -> User:
    """Return a recipient that a call or a message gives in one of several forms.

    Args:
        value: an address, also as `Name <address>`; a mapping with `email` and perhaps `name`; or an object
            with these attributes, such as `mailctl.Recipient` and FastAPI-Mail's `NameEmail`.

    Raises:
        InvalidInput: it has another form, or its address or name is invalid.
    """
    if isinstance(value, str):
        named = _NAMED_ADDRESS.fullmatch(value)
        if named is None:
            return make_recipient(email=value)
        return make_recipient(email=named["email"], name=_unquoted(named["name"]))
    if isinstance(value, Mapping):
        return make_recipient(email=value.get("email"), name=value.get("name"))
    email = _attribute(value, "email", field=_RECIPIENTS)
    if not isinstance(email, str):
        raise InvalidInput(
            _RECIPIENTS,
            "must be addresses.",
            fix="Give strings, mappings or objects with email and name.",
        )
    name = _attribute(value, "name", field=_RECIPIENTS)
    # NameEmail takes the local part of an address for the name if there is none.
    return make_recipient(email=email, name=None if name == email.rpartition("@")[0] else name)


def _attribute(value: object, name: str, *, field: str, default: object = None) -> object:
    """Return an attribute of an object of the service, whose code may raise anything."""
    try:
        return getattr(value, name, default)
    except Exception as error:
        # Without the text of the error, which may quote values.
        raise InvalidInput(
            field,
            f"cannot be read: its {name} raised {type(error).__name__}.",
            fix="Load it before the call, for example within your database session.",
        ) from error


def _unquoted(name: str) -> str:
    name = name.strip()
    return name[1:-1].replace('\\"', '"') if len(name) > 1 and name[0] == name[-1] == '"' else name


def make_content(
    kind: Kind,
    user: User,
    *,
    origins: frozenset[str],
    tokens: Mapping[str, str] | None = None,
    urls: Mapping[str, object] | None = None,
    context: object = None,
    subject: object = None,
    template: object = None,
    catalog: Catalog = BUILT_IN_CATALOG,
    keeps_template: bool = False,
) -> Content:
    """Return the validated content of an email of a kind.

    Links and IP addresses in the context are validated at any depth, whatever the kind (`LinkRules`): links
    of the built-in templates and of the kind, and all links of a template for security emails, must lead to
    `origins`. No variable that the template requires may be null.

    Args:
        kind: the kind of email.
        user: the recipient.
        origins: the origins (scheme://host[:port]) that links may lead to.
        tokens: the service's own tokens, by the `token` of the kind's links.
        urls: links that the caller made itself, by template variable.
        context: template variables: an object, or None.
        subject: the subject, for the generic kind only.
        template: the name of the template, for the generic kind only.
        catalog: the kinds of email; the service's own may declare links of a template.
        keeps_template: whether the content has the name of the template as it is given, because a task of
            the service renders it; otherwise it has mailctl's own name of it.

    Raises:
        InvalidInput: a value is missing or invalid.
        ConfigurationError: the service's own kinds are needed and cannot be loaded.
    """
    named = catalog.template_name(template) if kind.template is None else None
    given = validate_variables(context)
    for name in kind.variables:
        if name not in given:
            raise InvalidInput(
                name,
                f"needs the variable {name}.",
                fix=f"On the command line, add --set {name}=…",
                subject=f"Kind {kind.name}",
            )
    _refuse_unknown(kind, given, tokens or {})
    if "ip_address" in kind.variables:
        given["ip_address"] = validation.validate_ip_address(given["ip_address"])
    if kind.subject_variables & given.keys():
        validation.validate_subject(kind.subject_line("", given))
    if given:
        given = _link_rules(kind, named, user, origins=origins, catalog=catalog).apply(given)
    if given.get(_LOCALE) is not None:
        given[_LOCALE] = validation.validate_locale(given[_LOCALE])
    checked_urls = {
        name: link_validation.validate_action_url(url, origins=origins, field=name)
        for name, url in (urls or {}).items()
    }
    return Content(
        user=user,
        tokens={name: validation.validate_token(value, field=name) for name, value in (tokens or {}).items()},
        urls=checked_urls or _ready_made(kind, named, given),
        context=given,
        subject=validation.validate_subject(subject) if kind.subject is None else None,
        template=str(template) if keeps_template and named else named,
    )


def _link_rules(
    kind: Kind, named: str | None, user: User, *, origins: frozenset[str], catalog: Catalog
) -> LinkRules:
    declared = frozenset(link.variable for link in kind.links)
    if named is not None:
        declared = catalog.link_variables(named)
    return LinkRules(
        origins=origins,
        restricted=BUILT_IN_LINK_VARIABLES | declared,
        is_security_email=is_security_template(named or kind.template),
        required=declared | required_variables(effective_kind(kind, named), named or kind.template),
        recipient=user.email,
    )


def _ready_made(kind: Kind, named: str | None, given: Mapping[str, Json]) -> dict[str, str]:
    """Return the links that the context of an email with its own template contains."""
    links = effective_kind(kind, named).links if named is not None else ()
    return {link.variable: given[link.variable] for link in links if given.get(link.variable) is not None}


def _refuse_unknown(kind: Kind, given: Iterable[str], tokens: Iterable[str]) -> None:
    """Refuse variables and tokens that the kind does not declare: most of them are typing errors."""
    if kind.optional is not None:
        known = dict.fromkeys((*kind.variables, *kind.optional, *ALWAYS_ALLOWED_VARIABLES))
        _refuse_others(given, known, field="variable", kind=kind)
    _refuse_others(tokens, {link.token: None for link in kind.links}, field="token", kind=kind)


def _refuse_others(given: Iterable[str], known: Iterable[str], *, field: str, kind: Kind) -> None:
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"Kind {kind.name}",
                f"has no {field} {name!r}.",
                fix=suggest_name(name, known, label=f"Its {field}s"),
            )


def make_drafts(
    request: EmailRequest,
    contents: Sequence[Content],
    *,
    queue: str,
    now: datetime,
    first_id: str | None = None,
    seals_tokens: bool = False,
) -> list[Draft]:
    """Return the emails of one request, ready to be recorded: one for each content.

    Args:
        request: the request; its kind is the kind of the recorded emails.
        contents: the contents, one for each recipient.
        queue: the Celery queue.
        now: the time of the request.
        first_id: the Celery task id of the first email, from which the others follow; None generates one.
        seals_tokens: whether given tokens are sealed, so that only the `exp` of a JWT limits them.

    Raises:
        InvalidInput: the idempotency key is invalid.
    """
    if request.idempotency_key is not None:
        validation.validate_idempotency_key(request.idempotency_key)
    first_id = first_id or new_email_id(now)
    return [
        Draft(
            id=first_id if number == 0 else following_email_id(first_id, number),
            request=request,
            content=sent_by(content, request),
            queue=queue,
            created_at=now,
            expires_at=_expiry(request, content, now=now, seals_tokens=seals_tokens),
            group_id=first_id if len(contents) > 1 else None,
        )
        for number, content in enumerate(contents)
    ]


def sent_by(content: Content, request: EmailRequest) -> Content:
    """Return a content with the sender and the tenant of its request, unless that has none."""
    if request.sender is None and request.tenant is None:
        return content
    return replace(content, sender=request.sender or content.sender, tenant=request.tenant or content.tenant)


def _expiry(request: EmailRequest, content: Content, *, now: datetime, seals_tokens: bool) -> datetime:
    kind = effective_kind(request.kind, content.template)
    expiry = request.earliest_start(now) + min(request.kind.lifetime, kind.lifetime)
    if request.expires_at is not None:
        expiry = min(expiry, request.expires_at)
    of_links = given_links_expiry(kind, content, given_at=now, are_sealed=seals_tokens)
    return expiry if of_links is None else min(expiry, of_links)


def _name(value: object) -> str:
    """Return a name to store; "" for a value that is not text or is too long."""
    return value if isinstance(value, str) and len(value) <= _MAX_STORED_NAME else ""
