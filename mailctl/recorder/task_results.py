"""Reads the results of tasks that do not write to this delivery log, and records the outcomes in it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from mailctl.delivery_log.opening import open_log
from mailctl.delivery_log.own_task_emails import OwnTaskEmails
from mailctl.domain.own_tasks import outcome_of_other_worker, outcome_of_result
from mailctl.errors import BrokerUnavailable, LogUnavailable
from mailctl.json_logging import log_extra
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    from mailctl.broker.inspector import BrokerInspector
    from mailctl.domain.models import CeleryResult, Email
    from mailctl.domain.own_tasks import OwnTaskOutcome
    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.own_tasks")
#: The maximum number of results that a command reads, and of seconds that it spends on that.
_MAX_RESULTS = 200
_MAX_SECONDS = 1.0


class OwnTaskResults:
    """Reads the results of tasks that do not write to this log, and records what they prove.

    Args:
        runtime: the components of this process.
        broker: asks the result backend.
    """

    def __init__(self, runtime: Runtime, *, broker: BrokerInspector) -> None:
        self._runtime = runtime
        self._broker = broker

    def read(self, email_id: str) -> CeleryResult | None:
        """Return the stored result of a task; None if there is none, which says nothing about the email.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        return self._broker.task_result(email_id)

    def record(self, email: Email, result: CeleryResult | None, *, log: OwnTaskEmails) -> bool:
        """Record the outcome in a result; return whether that ended the email.

        Args:
            email: an email that a task of the service sends, or that was published in full.
            result: the stored result of its task.
            log: records it.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        outcome = self._outcome(email, result)
        if outcome is None or not log.finish(email.id, outcome):
            return False
        if outcome.translator_problem:
            fields = log_extra(email.id, "result_not_translated")
            _log.error("email %s: %s", email.id, outcome.translator_problem, extra=fields)
        return True

    def _outcome(self, email: Email, result: CeleryResult | None) -> OwnTaskOutcome | None:
        if result is None:
            return None
        if result.is_from_mailctl:
            # A task of mailctl with this log has written to it itself.
            return None if email.is_own_task else outcome_of_other_worker(result)
        kind = self._runtime.catalog.find(email.kind)
        task = kind.full_task if kind is not None else email.kind
        return outcome_of_result(result, task=task, translate=self._runtime.result_translator)


def record_results(runtime: Runtime) -> None:
    """Record the outcomes in results of tasks without this log, so that no finished email is shown as queued.

    Emails of own tasks whose messages are gone without a result are held. Workers do the same, if they are
    mailctl's or have the recorder; this is for services without either. It takes about a second at most.
    Emails whose results cannot be read stay as they are.

    Args:
        runtime: the components of this process.
    """
    own = runtime.own_task_emails.published(limit=_MAX_RESULTS)
    emails = [*own, *runtime.own_task_emails.published_in_full(limit=_MAX_RESULTS)]
    if not emails or runtime.settings.is_broker_private:
        return
    # Celery takes long to import, and most logs have no such emails.
    from mailctl.broker.inspector import BrokerInspector
    from mailctl.recorder.task_watch import OwnTaskWatch

    with suppress(BrokerUnavailable, LogUnavailable), open_log(runtime.settings) as engine:
        log, broker = OwnTaskEmails(engine), BrokerInspector(runtime.app)
        watch = OwnTaskWatch(runtime, app=runtime.app, broker=broker, log=log)
        deadline, unfinished = time.monotonic() + _MAX_SECONDS, []
        for email in emails:
            if time.monotonic() > deadline:
                return
            if not watch.has_result(email) and email.is_own_task:
                unfinished.append(email)
        watch.hold_missing(unfinished)
