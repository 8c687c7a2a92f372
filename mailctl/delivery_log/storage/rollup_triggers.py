"""The triggers that note which emails changed after the statistics counted them.

Migration 0020 creates them in an older log. A change of them is a migration with its own statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: What is counted of an email, as it was before the change.
_COUNTED = """OLD.seq, OLD.created_at, OLD.state, OLD.queue,
    CASE WHEN OLD.worker IS NOT NULL AND NOT OLD.is_own_task AND OLD.captured_file IS NULL
         THEN coalesce(OLD.server, 'default') ELSE '' END, OLD.sent_at"""
_INSERT = "INSERT INTO mailctl_rollup_changes (seq, created_at, state, queue, server, sent_at"
_COLUMNS = "state, queue, server, worker, is_own_task, captured_file, sent_at"
# A row that is there already is locked, so that it is not taken away before this transaction has ended.
_IF_NEW = "ON CONFLICT (seq) DO UPDATE SET seq = excluded.seq"
_IF_NOT_GONE = "ON CONFLICT (seq) DO UPDATE SET is_gone = true"
_NOTE_CHANGE = f"{_INSERT}) VALUES ({_COUNTED}) {_IF_NEW}"
_NOTE_NEW = f"{_INSERT}) VALUES (NEW.seq, NEW.created_at, NULL, NEW.queue, '', NULL) {_IF_NEW}"
_OLD_PERIODS_GONE = """SELECT min(seq), min(created_at), 'gone', '', '', NULL, true FROM gone
    WHERE created_at < clock_timestamp() - interval '1 hour'
    GROUP BY floor(extract(epoch FROM created_at) / 1800)"""
_NOTE_GONE = f"{_INSERT}, is_gone) {_OLD_PERIODS_GONE} {_IF_NOT_GONE}"

# Only emails of periods that are rolled up: those that most statements change are younger.
_WHEN_SQLITE = """WHEN {row}.created_at < (
    SELECT ends_at FROM mailctl_rollup_periods ORDER BY starts_at DESC LIMIT 1)"""
_SQLITE = (
    f"""CREATE TRIGGER mailctl_rollup_update AFTER UPDATE OF {_COLUMNS} ON mailctl_emails
{_WHEN_SQLITE.format(row="OLD")} BEGIN
    {_NOTE_CHANGE};
END""",
    f"""CREATE TRIGGER mailctl_rollup_insert AFTER INSERT ON mailctl_emails
{_WHEN_SQLITE.format(row="NEW")} BEGIN
    {_NOTE_NEW};
END""",
    f"""CREATE TRIGGER mailctl_rollup_delete AFTER DELETE ON mailctl_emails
{_WHEN_SQLITE.format(row="OLD")} BEGIN
    {_INSERT}, is_gone) VALUES ({_COUNTED}, true) {_IF_NOT_GONE};
END""",
)

# A period is announced an hour after its end, and rolled up when no transaction is older than that.
_WHEN_POSTGRESQL = "WHEN ({row}.created_at < clock_timestamp() - interval '1 hour')"
_POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION mailctl_rollup_note_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {_NOTE_CHANGE};
    RETURN NULL;
END $$""",
    f"""CREATE TRIGGER mailctl_rollup_update AFTER UPDATE OF {_COLUMNS} ON mailctl_emails
FOR EACH ROW {_WHEN_POSTGRESQL.format(row="OLD")} EXECUTE FUNCTION mailctl_rollup_note_update()""",
    f"""CREATE OR REPLACE FUNCTION mailctl_rollup_note_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {_NOTE_NEW};
    RETURN NULL;
END $$""",
    f"""CREATE TRIGGER mailctl_rollup_insert AFTER INSERT ON mailctl_emails
FOR EACH ROW {_WHEN_POSTGRESQL.format(row="NEW")} EXECUTE FUNCTION mailctl_rollup_note_insert()""",
    # One row for each period, however many emails are deleted.
    f"""CREATE OR REPLACE FUNCTION mailctl_rollup_note_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {_NOTE_GONE};
    RETURN NULL;
END $$""",
    """CREATE TRIGGER mailctl_rollup_delete AFTER DELETE ON mailctl_emails
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION mailctl_rollup_note_delete()""",
)


def create_rollup_triggers(connection: Connection) -> None:
    """Create the triggers on the table of emails."""
    for statement in _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE:
        # Not as text, in which a colon begins a parameter.
        connection.exec_driver_sql(statement)
