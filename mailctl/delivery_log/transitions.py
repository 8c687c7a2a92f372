"""Changes of state: the one place that updates states and appends their events, in one transaction."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, String, bindparam, case, func, insert, select, update

from mailctl.delivery_log.storage.batches import batches, is_among
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.domain.reason_codes import NOTE_CODES
from mailctl.domain.states import State, states_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Table

    from mailctl.domain.reason_codes import Reason, ReasonCode

#: The columns that hold a claim, emptied.
CLAIM_CLEARED: dict[str, Any] = {"claim": None, "lease_until": None}
_NOW = "moment"
_EVENTS_OF_EMAILS = select(
    emails.c.id,
    bindparam(_NOW, type_=UtcDateTime),
    emails.c.state,
    emails.c.attempts,
    emails.c.worker,
    # The row still has the reply to the attempt before; the one that begins has none yet.
    case((emails.c.state == State.SENDING, None), else_=emails.c.smtp_code),
    bindparam("text", type_=String),
    bindparam("actor", type_=String),
    bindparam("reason_code", type_=String),
)
_EVENT_FIELDS = ["email_id", "at", "state", "attempt", "worker", "code", "text", "actor", "reason_code"]
_APPEND_EVENTS = insert(events).from_select(
    _EVENT_FIELDS, _EVENTS_OF_EMAILS.where(is_among(emails.c.id, "ids"))
)


class StateChange:
    """A change of state, as a statement that is built once and run often.

    Args:
        where: which emails; an index should support the condition, and it may hold bind parameters.
        target: their new state; emails whose state cannot change to it stay as they are.
        values: other columns to set; they may hold bind parameters.
        returning: columns to return besides those that the events repeat.
    """

    def __init__(
        self,
        where: ColumnElement[bool],
        target: State,
        *,
        values: dict[str, Any],
        returning: Sequence[ColumnElement[Any]] = (),
    ) -> None:
        self._target = target
        self._statement = (
            update(emails)
            .where(where, UNINDEXED_STATE.in_(states_before(target)))
            .values(**values, state=target, updated_at=bindparam(_NOW, type_=UtcDateTime))
            .returning(*_EVENT_COLUMNS, *returning)
        )

    def run(
        self,
        connection: Connection,
        parameters: dict[str, Any] | None = None,
        *,
        text: str,
        now: datetime,
        code: ReasonCode | None = None,
        stage: str | None = None,
        actor: str | None = None,
        event: Mapping[str, Any] | None = None,
        event_by_id: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Sequence[Row[Any]]:
        """Change the state of all emails that match and may change to it, and append their events.

        Args:
            parameters: values of the bind parameters.
            text: the text of the events, for people.
            code: the reason code of the events; None for ordinary progress.
            stage: the SMTP stage of the events.
            actor: the operator who acts; None for what happens by itself.
            event: columns of the events that differ from those of the emails.
            event_by_id: such columns of the event of each email, by the id of the email.

        Returns:
            The rows that changed, with their new values.
        """
        rows = connection.execute(self._statement, {**(parameters or {}), _NOW: now}).all()
        # Not with `append_events`, which would have to find the rows again.
        common: dict[str, Any] = {"at": now, "state": self._target, "text": text, "actor": actor}
        # Ordinary progress, which every email makes, has neither.
        if code is not None:
            common |= {"reason_code": code, "stage": stage}
        given, by_id = dict(event or {}), event_by_id or {}
        insert_rows(
            connection,
            events,
            [common | _event_values(row, self._target) | given | dict(by_id.get(row.id, {})) for row in rows],
        )
        return rows


#: The columns of an email that its events repeat.
_EVENT_COLUMNS = (emails.c.id, emails.c.attempts, emails.c.worker, emails.c.smtp_code)


def _event_values(row: Row[Any], state: State) -> dict[str, Any]:
    # The row still has the reply to the attempt before; the one that begins has none yet.
    code = None if state is State.SENDING else row.smtp_code
    return {"email_id": row.id, "attempt": row.attempts, "worker": row.worker, "code": code}


def change_state(
    connection: Connection,
    where: ColumnElement[bool],
    target: State,
    *,
    text: str,
    values: dict[str, Any],
    now: datetime,
    code: ReasonCode | None = None,
    stage: str | None = None,
    returning: Sequence[ColumnElement[Any]] = (),
    actor: str | None = None,
    event: Mapping[str, Any] | None = None,
) -> Sequence[Row[Any]]:
    """Change the state of all emails that match and may change to it; see `StateChange.run`."""
    change = StateChange(where, target, values=values, returning=returning)
    return change.run(connection, text=text, now=now, code=code, stage=stage, actor=actor, event=event)


def is_state_change() -> ColumnElement[bool]:
    """Return the condition that an event marks a change of state, and not only repeats the state."""
    return func.coalesce(events.c.reason_code, "").not_in(NOTE_CODES)


def append_events(
    connection: Connection,
    ids: Sequence[str],
    *,
    text: str,
    now: datetime,
    code: ReasonCode,
    actor: str | None = None,
) -> None:
    """Append an event to each of these emails, in its current state."""
    values = {_NOW: now, "text": text, "actor": actor, "reason_code": code}
    for some in batches(ids):
        connection.execute(_APPEND_EVENTS, {**values, "ids": some})


def append_events_where(
    connection: Connection,
    where: ColumnElement[bool],
    *,
    text: str,
    now: datetime,
    code: ReasonCode,
    actor: str | None = None,
) -> None:
    """Append an event to each email that matches, in its current state and in the order of the emails."""
    found = _EVENTS_OF_EMAILS.where(where).order_by(emails.c.seq)
    values = {_NOW: now, "text": text, "actor": actor, "reason_code": code}
    connection.execute(insert(events).from_select(_EVENT_FIELDS, found), values)


def reason_values(reason: Reason | None) -> dict[str, Any]:
    """Return the columns of an email that say why it is not sent; None empties them."""
    if reason is None:
        return {"error": None, "reason_code": None}
    return {"error": reason.text, "reason_code": reason.code}


def insert_or_ignore(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row unless the table has one with its key; return whether it was inserted."""
    # Not `rowcount`, which SQLAlchemy does not have for an INSERT on PostgreSQL.
    return connection.execute(_insert_or_ignore(connection.dialect.name, table), row).first() is not None


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> set[Any]:
    """Insert rows, apart from those whose key the table has; return the keys of the others.

    Args:
        table: a table whose key is one column.
        rows: values by column name; all rows have the same columns, and of two with one key the first counts.
    """
    if not rows:
        return set()
    return set(connection.execute(_insert_or_ignore(connection.dialect.name, table), rows).scalars())


@cache
def _insert_or_ignore(dialect: str, table: Table) -> Any:
    """Return the statement, built once: building it takes longer than running it."""
    return insert_of_dialect(dialect, table).on_conflict_do_nothing().returning(*table.primary_key)


def dialect_insert(connection: Connection, table: Table) -> Any:
    """Return an INSERT of the dialect in use, which has ON CONFLICT."""
    return insert_of_dialect(connection.dialect.name, table)


def insert_of_dialect(dialect: str, table: Table) -> Any:
    """Return an INSERT of a dialect, by its name, which has ON CONFLICT."""
    # Imported here, because each dialect takes long to import and a process needs one.
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table)
