"""The results of emails that programs find in Celery."""

from __future__ import annotations

import pytest

from mailctl.domain.celery_states import CELERY_STATES
from mailctl.domain.states import ACCEPTED_STATES, FINAL_STATES, State


def test_what_a_mail_server_has_accepted_is_a_success() -> None:
    """Also if it bounces later: the task has done its work."""
    successes = {state for state, celery in CELERY_STATES.items() if celery == "SUCCESS"}
    assert successes == {*ACCEPTED_STATES, State.CAPTURED}


@pytest.mark.parametrize("state", [state for state, celery in CELERY_STATES.items() if celery == "RETRY"])
def test_what_is_tried_again_is_not_finished(state: State) -> None:
    """A program may wait for it."""
    assert state not in FINAL_STATES


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.CANCELLED, State.UNCONFIRMED])
def test_where_no_attempt_of_ours_has_ended_there_is_no_result(state: State) -> None:
    """Or another one, which the backend alone knows."""
    assert state not in CELERY_STATES
