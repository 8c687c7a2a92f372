"""Rows become values: every column of an email is read, and codes become members."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from mailctl.delivery_log.rows import (
    EMAIL_COLUMNS,
    IDENTITY_COLUMNS,
    email_from_row,
    identity_from_row,
)
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.models import Email
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_an_email_has_every_column_that_is_read(log: Log) -> None:
    """No field has a default that hides a column which is not read."""
    log.change(log.add(user_id="7"), reason_code=ReasonCode.REFUSED, smtp_code=550, smtp_text=None)
    with reading(log.engine) as connection:
        [row] = connection.execute(select(*EMAIL_COLUMNS))
    email = email_from_row(row)
    assert (email.to, email.user_id, email.state) == ("zoe@example.com", "7", State.PENDING)
    assert email.reason_code is ReasonCode.REFUSED
    assert (email.reply.code, email.reply.text) == (550, "")
    unread = {field.name for field in fields(Email)} - {column.name for column in EMAIL_COLUMNS}
    assert unread == {"to", "reply"}


def test_the_identity_of_a_row_is_what_its_content_is_bound_to(log: Log) -> None:
    """The id, the kind, the recipient and the expiry."""
    email_id = log.add()
    with reading(log.engine) as connection:
        [row] = connection.execute(select(*IDENTITY_COLUMNS))
    identity = identity_from_row(row)
    assert (identity.id, identity.kind, identity.recipient) == (email_id, "welcome", "zoe@example.com")
    assert identity.expires_at == log.email(email_id).expires_at


def test_a_state_that_nobody_knows_is_an_error(log: Log) -> None:
    """A newer version of mailctl has written it: guessing would be worse."""
    log.change(log.add(), state="teleported")
    with reading(log.engine) as connection:
        [row] = connection.execute(select(*EMAIL_COLUMNS).where(emails.c.state == "teleported"))
    with pytest.raises(ValueError, match="teleported"):
        email_from_row(row)
