"""Whoever needs to know what an SMTP code means gets the same answer, from the same table."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import mailctl
from mailctl.delivery_log.suppressions import is_dead_mailbox as is_suppressed
from mailctl.diagnosis.attempt_causes import cause_of_attempt
from mailctl.domain.outcomes import OUR_FAULTS, OutcomeKind
from mailctl.smtp.classify import classify_reply, is_dead_mailbox, is_recipient_refusal, is_server_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.outcomes import Outcome

STAGES = ("connect", "tls", "auth", "mail", "rcpt", "data", "body")
PACKAGE = Path(mailctl.__file__).parent
#: An enhanced status code, or how several begin.
STATUS = re.compile(r"[245]\.\d{1,3}\.(\d{1,3})?")


def refusals() -> Iterator[Outcome]:
    """Return what every negative reply means at every stage, with and without an enhanced status code."""
    for stage in STAGES:
        for code in range(400, 600):
            yield classify_reply(code, "bare", stage=stage)
        for subject in range(8):
            for detail in range(31):
                yield classify_reply(550, f"5.{subject}.{detail} x", stage=stage)
                yield classify_reply(451, f"4.{subject}.{detail} x", stage=stage)


def test_the_suppression_list_and_the_hazard_of_a_retry_agree() -> None:
    """An address is suppressed exactly where a retry of the refused email is called pointless."""
    refused = [each for each in refusals() if each.kind is OutcomeKind.REFUSED]
    dead = [each for each in refused if is_dead_mailbox(each.reply, stage=each.stage)]
    assert dead
    assert [each for each in refused if is_suppressed(each)] == dead


def test_a_dead_mailbox_is_always_a_refused_recipient() -> None:
    """`why` never explains a dead mailbox as a refused message."""
    dead = [each for each in refusals() if is_dead_mailbox(each.reply, stage=each.stage)]
    assert dead
    for each in dead:
        assert is_recipient_refusal(each.reply, stage=each.stage)


def test_the_circuit_never_opens_for_a_dead_mailbox() -> None:
    """One bad address says nothing about the server."""
    refused = [each for each in refusals() if each.kind is OutcomeKind.REFUSED]
    assert refused
    for each in refused:
        assert not is_server_failure(each)


def test_a_deferral_for_policy_is_explained_as_a_limit() -> None:
    """At every stage where the reply is about the email, and for no other deferral."""
    deferred = [
        each
        for each in refusals()
        if each.kind is OutcomeKind.DEFERRED and each.reply.enhanced and each.stage not in ("tls", "auth")
    ]
    assert deferred
    for each in deferred:
        cause = cause_of_attempt(each.reason_code, stage=each.stage, reply=each.reply)
        assert (cause.name == "rate_limited") is (each.reply.enhanced or "").startswith("4.7.")


def test_an_email_never_fails_for_a_fault_of_ours() -> None:
    """It waits until that is corrected, without using up attempts, and the circuit can open."""
    ours = [
        each for each in refusals() if each.category in OUR_FAULTS and each.kind is not OutcomeKind.DEFERRED
    ]
    assert ours
    for each in ours:
        assert each.kind is OutcomeKind.CONFIG
        assert is_server_failure(each)


def test_no_other_module_knows_enhanced_status_codes() -> None:
    """A code outside the table of `mailctl.smtp.classify` would be a second decision."""
    found = [
        f"{path.relative_to(PACKAGE)}: {text}"
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "smtp"
        for text in _strings(path)
        if STATUS.fullmatch(text)
    ]
    assert found == []


def _strings(path: Path) -> Iterator[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
