"""Reads the senders of MAILCTL_SENDERS; EMAIL_FROM_ADDRESS and EMAIL_FROM_NAME are the default one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailctl.domain.address_validation import validate_address
from mailctl.domain.senders import DEFAULT_SENDER, SETTING, SenderIdentity, Senders, validate_tenant
from mailctl.domain.validation import validate_display_name
from mailctl.errors import InvalidInput
from mailctl.settings.toml_tables import read_toml_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.settings.toml_tables import TomlTable

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
#: Text in braces, which looks as if it would be filled in with a value of the email.
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def read_senders(path: Path | None, *, default: SenderIdentity) -> Senders:
    """Return the senders of a file.

    Args:
        path: the file; None if there is none.
        default: the sender that EMAIL_FROM_ADDRESS and EMAIL_FROM_NAME describe.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong.
    """
    if path is None:
        return Senders(identities=(default,))
    file = read_toml_file(path, setting=SETTING)
    found = [_identity(name, table, default) for name, table in file.table("senders").entries()]
    file.finish()
    defaults = [each for each in found if each.name == DEFAULT_SENDER] or [default]
    others = [each for each in found if each.name != DEFAULT_SENDER]
    return Senders(identities=(*defaults, *others))


def _identity(name: str, table: TomlTable, default: SenderIdentity) -> SenderIdentity:
    if not _NAME.fullmatch(name):
        raise table.error("address", "cannot be used: a name has 1 to 32 letters a-z, digits and hyphens")
    is_default = name == DEFAULT_SENDER
    address = _address(table, "address", default.address if is_default else "")
    if not address:
        raise table.error("address", "is missing")
    kinds, tenants = frozenset(table.names("kinds")), frozenset(table.names("tenants"))
    for tenant in tenants:
        _checked(table, "tenants", tenant, validate_tenant)
    if is_default and (kinds or tenants):
        raise table.error("kinds", "and tenants cannot be given: no other sender fits its emails")
    identity = SenderIdentity(
        name=name,
        address=address,
        display_name=_checked(table, "name", table.text("name", default.display_name), validate_display_name),
        bounce_address=_address(table, "bounce_address", address),
        reply_to=_address(table, "reply_to", default.reply_to),
        dkim_selectors=table.names("dkim_selectors"),
        kinds=kinds,
        tenants=tenants,
    )
    table.finish()
    return identity


def _address(table: TomlTable, name: str, default: str) -> str:
    value = table.text(name, default)
    return _checked(table, name, value, validate_address) if value else ""


def _checked(table: TomlTable, name: str, value: str, check: Callable[[str], str]) -> str:
    if _PLACEHOLDER.search(value):
        raise table.error(name, "is the same for every email; nothing in braces is filled in")
    try:
        return check(value)
    except InvalidInput as error:
        raise table.error(name, error.reason.rstrip(".")) from None
