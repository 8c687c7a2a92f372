"""Decides what the result of an own task says about its email, and assumes no more than it proves.

An own task sends an email in its own way and does not write to the delivery log. That it ended without an
exception proves nothing: many such tasks catch the error of the mail server and return False.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import SENT_OR_CAPTURED, State
from mailctl.domain.unicode_safety import escape_controls_as_line
from mailctl.errors import ConfigurationError
from mailctl.settings.credential_masking import mask_credentials
from mailctl.settings.plugins import load_object

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.domain.models import CeleryResult, Json

#: A function of the service that interprets a returned value: it gets the name of the task and the value, and
#: returns the name of one of `REPORTABLE_STATES`, or None to use mailctl's rules.
ResultTranslator = Callable[[str, "Json"], object]
#: The states that a result, or a translator, can report.
REPORTABLE_STATES = (State.SENT, State.CAPTURED, State.UNCONFIRMED, State.FAILED)
#: Who reports an outcome, in texts for operators.
OWN_TASK = "the service's own task"
OTHER_WORKER = "a worker without this delivery log"
#: The maximum number of characters that are kept of a text in a result.
_MAX_TEXT = 500
#: Keys of a returned mapping whose value says whether the task succeeded.
_SUCCESS_KEYS = ("success", "ok", "sent", "status")
#: Keys of a returned mapping that hold an error, if there is one.
_ERROR_KEYS = ("error", "errors")
#: Keys of a returned mapping that may describe a failure.
_TEXT_KEYS = (*_ERROR_KEYS, "message", "detail", "reason")
#: Values of a status that mean a failure, in lower case.
_FAILURE_WORDS = frozenset(
    {"bounced", "error", "fail", "failed", "failure", "false", "ko", "refused", "rejected", "unsent"}
)
#: The lowest number that is a failure where a status is a number, as in HTTP and SMTP.
_FIRST_FAILURE_CODE = 400
#: Exceptions that Celery stores for a task that was interrupted, perhaps after the mail server accepted the
#: email.
_INTERRUPTIONS = frozenset({"SoftTimeLimitExceeded", "Terminated", "TimeLimitExceeded", "WorkerLostError"})


@dataclass(frozen=True, kw_only=True)
class OwnTaskOutcome:
    """The outcome of an email, according to the result of its own task."""

    #: One of `REPORTABLE_STATES`.
    state: State
    reason: Reason
    #: Whether a mail server may have accepted the email although the task failed.
    may_have_been_sent: bool = False
    #: Who reports the outcome.
    reporter: str = OWN_TASK
    #: When the task finished; None if that is not known.
    finished_at: datetime | None = None
    #: What is wrong with the translator, for the log of the process; "" if nothing is wrong.
    translator_problem: str = ""


def load_translator(spec: str) -> ResultTranslator | None:
    """Return the translator that MAILCTL_RESULT_OUTCOME names; None if it is not set.

    Args:
        spec: MODULE:CALLABLE, or "".

    Raises:
        ConfigurationError: it names no function.
    """
    if not spec:
        return None
    found = load_object(spec, setting="MAILCTL_RESULT_OUTCOME")
    if not callable(found):
        raise ConfigurationError(
            f"MAILCTL_RESULT_OUTCOME {spec}: this is not a function.", fix="Name a function of two arguments."
        )
    return found


def load_translator_or_failing(spec: str) -> ResultTranslator | None:
    """Return the translator that MAILCTL_RESULT_OUTCOME names, or one that raises why it cannot be loaded.

    The outcome of a task is unknown then, and a wrong setting does not stop the process.

    Args:
        spec: MODULE:CALLABLE, or "".
    """
    try:
        return load_translator(spec)
    except ConfigurationError as error:
        problem = error

    def fail(_task: str, _value: Json) -> object:
        raise problem

    return fail


def outcome_of_result(
    result: CeleryResult, *, task: str, translate: ResultTranslator | None = None
) -> OwnTaskOutcome | None:
    """Return the outcome in the stored result of a task; None if the task is not known to have finished.

    Args:
        result: the stored result.
        task: the name of the task.
        translate: the translator of MAILCTL_RESULT_OUTCOME; None to use mailctl's rules.
    """
    if result.state == "SUCCESS":
        outcome = outcome_of_value(result.value, task=task, translate=translate)
    elif result.state == "FAILURE":
        outcome = outcome_of_error(result.error_type, result.text)
    elif result.state == "REVOKED":
        outcome = _failed(_with_text("the service's own task was revoked", result.text))
        outcome = replace(outcome, may_have_been_sent=result.is_terminated)
    else:
        return None
    return replace(outcome, finished_at=result.finished_at)


def outcome_of_other_worker(result: CeleryResult) -> OwnTaskOutcome | None:
    """Return the outcome in the result that a worker of mailctl with another log stored; None if not final.

    Such a worker reports `sent` only if a mail server has accepted the email.

    Args:
        result: the stored result, of a task of mailctl.
    """
    if result.state == "FAILURE":
        outcome = _failed(_with_text(f"{OTHER_WORKER} did not send it", result.text))
    else:
        reported = result.value.get("state") if isinstance(result.value, dict) else None
        state = next((each for each in SENT_OR_CAPTURED if each == reported), None)
        if state is None:
            return None
        state = State.CAPTURED if state is State.CAPTURED else State.SENT
        text = f"{OTHER_WORKER} reports that it was {state}"
        reason = Reason(code=ReasonCode.OWN_TASK_SUCCEEDED, text=text)
        outcome = OwnTaskOutcome(state=state, reason=reason)
    return replace(outcome, reporter=OTHER_WORKER, finished_at=result.finished_at)


def outcome_of_error(error_type: str, text: str) -> OwnTaskOutcome:
    """Return the outcome of a task that raised an exception.

    Args:
        error_type: the name of the class of the exception; "" if it is not known.
        text: the text of the exception.
    """
    reason = _with_text(f"the service's own task failed with {error_type or 'an exception'}", text)
    return replace(_failed(reason), may_have_been_sent=error_type in _INTERRUPTIONS)


def outcome_of_value(value: Json, *, task: str, translate: ResultTranslator | None = None) -> OwnTaskOutcome:
    """Return the outcome of a task that returned a value.

    `False`, and a mapping whose `success`, `ok`, `sent`, `status` or `error` says so, are a failure. Whatever
    else a task returns does not prove that a mail server accepted the email.

    Args:
        value: the returned value.
        task: the name of the task.
        translate: the translator of MAILCTL_RESULT_OUTCOME; None to use mailctl's rules.
    """
    problem = ""
    if translate is not None:
        state, problem = _translated(value, task=task, translate=translate)
        if state is not None:
            return _reported(state, value)
    if problem:
        outcome = _unconfirmed(f"the service's own task returned {_shown(value)}; {problem}")
        return replace(outcome, translator_problem=problem)
    failure = _failure_in(value)
    if failure is not None:
        return _failed(f"the service's own task reported a failure: {failure}")
    text = f"the service's own task returned {_shown(value)}"
    return _unconfirmed(f"{text}, which does not say whether a mail server accepted it")


def _translated(value: Json, *, task: str, translate: ResultTranslator) -> tuple[State | None, str]:
    """Return the state that the translator gives, if any, and what is wrong with it, if anything."""
    try:
        answer = translate(task, value)
        state = next((state for state in REPORTABLE_STATES if answer == state), None)
    except (Exception, SystemExit) as error:  # the service's code may raise anything
        return None, f"MAILCTL_RESULT_OUTCOME raised {type(error).__name__}"
    if answer is None:
        return None, ""
    return (
        state,
        "" if state else f"MAILCTL_RESULT_OUTCOME returned {_shown(answer)}, which is not an outcome",
    )


def _reported(state: State, value: Json) -> OwnTaskOutcome:
    text = f"the service's own task returned {_shown(value)}, which MAILCTL_RESULT_OUTCOME reads as {state}"
    if state is State.FAILED:
        return _failed(_with_text(text, _failure_text(value)))
    if state is State.UNCONFIRMED:
        return _unconfirmed(text)
    return OwnTaskOutcome(state=state, reason=Reason(code=ReasonCode.OWN_TASK_SUCCEEDED, text=text))


def _failure_in(value: Json) -> str | None:
    """Return how a value reports a failure; None if it does not report one."""
    if value is False:
        return "it returned False"
    if not isinstance(value, Mapping):
        return None
    for key in _SUCCESS_KEYS:
        if key in value and _is_failure(value[key]):
            return _with_text(f"{key} is {_shown(value[key], is_text_shown=True)}", _failure_text(value))
    for key in _ERROR_KEYS:
        if value.get(key):
            return _with_text(f"it returned an {key.removesuffix('s')}", _failure_text(value))
    return None


def _is_failure(value: Json) -> bool:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value == 0 or value >= _FIRST_FAILURE_CODE
    return isinstance(value, str) and value.strip().lower() in _FAILURE_WORDS


def _failure_text(value: Json) -> str:
    """Return how a mapping describes a failure; "" if it does not."""
    found = (value.get(key) for key in _TEXT_KEYS) if isinstance(value, Mapping) else ()
    return next((text for text in found if isinstance(text, str) and text), "")


def _shown(value: object, *, is_text_shown: bool = False) -> str:
    """Return a value as text; texts and collections, which may contain secrets, only by their type."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if is_text_shown and isinstance(value, str):
        return repr(value[:_MAX_TEXT])
    return f"a {type(value).__name__}"


def _with_text(sentence: str, text: str) -> str:
    text = escape_controls_as_line(mask_credentials(text)[:_MAX_TEXT]).strip()
    return f"{sentence}: {text}" if text else sentence


def _failed(text: str) -> OwnTaskOutcome:
    return OwnTaskOutcome(state=State.FAILED, reason=Reason(code=ReasonCode.OWN_TASK_FAILED, text=text))


def _unconfirmed(text: str) -> OwnTaskOutcome:
    reason = Reason(code=ReasonCode.OWN_TASK_UNCONFIRMED, text=text)
    return OwnTaskOutcome(state=State.UNCONFIRMED, reason=reason)
