"""What can be paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.domain.catalog import WELCOME as WELCOME_KIND
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import InvalidInput, NotFound
from mailctl.operations.pausing import PauseService, PauseTarget, UnsentEmails
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WELCOME = PauseTarget(scope=PauseScope.KIND, name="welcome")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PauseService]:
    """Pauses of an empty log."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    yield PauseService(runtime)
    runtime.close()


@pytest.mark.parametrize(("queue", "kind"), [(None, None), ("celery", "welcome")])
def test_either_a_queue_or_a_kind_is_paused(
    service: PauseService, queue: str | None, kind: str | None
) -> None:
    """Neither or both is an error."""
    with pytest.raises(InvalidInput, match=r"queue or kind is missing|queue and kind cannot both be given"):
        service.resolve_target(queue=queue, kind=kind)


def test_an_unknown_name_is_not_paused(service: PauseService) -> None:
    """It would look as if something was paused."""
    with pytest.raises(NotFound, match="There is no queue 'clery'"):
        service.resolve_target(queue="clery", kind=None)
    with pytest.raises(InvalidInput):
        service.resolve_target(queue=None, kind="welcom")


def test_a_pause_is_new_once(service: PauseService) -> None:
    """After a resume it can be set again."""
    assert service.resolve_target(queue=None, kind="welcome") == WELCOME
    assert [service.pause(WELCOME, actor="ada", reason="wrong link")[1] for _ in range(2)] == [True, False]
    assert service.resume(WELCOME).reason == "wrong link"
    with pytest.raises(NotFound, match="The kind 'welcome' is not paused"):
        service.resume(WELCOME)


class ResumedAtOnce(Pauses):
    """Pauses that another operator lifts as soon as they are set."""

    def pause(self, scope: PauseScope, name: str, *, actor: str, reason: str) -> bool:
        """Pause it, and resume it."""
        is_new = super().pause(scope, name, actor=actor, reason=reason)
        self.resume(scope, name)
        return is_new


def test_nothing_is_called_paused_that_somebody_has_resumed(tmp_path: Path) -> None:
    """Between setting the pause and reading it."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    vars(runtime)["pauses"] = ResumedAtOnce(runtime.engine)
    with pytest.raises(NotFound, match="somebody else has just resumed it"):
        PauseService(runtime).pause(WELCOME, actor="ada", reason="")
    runtime.close()


def test_what_workers_have_taken_is_counted_apart(tmp_path: Path) -> None:
    """A pause does not stop it, and an operator has to know."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    contents = [Content(user=User(email=f"zoe{number}@example.com")) for number in range(3)]
    first, *_ = Enqueuer(runtime).record(EmailRequest(kind=WELCOME_KIND), contents).ids
    runtime.claims.claim([first], worker="w@h")
    assert PauseService(runtime).count_unsent(WELCOME) == UnsentEmails(waiting=2, sending=1)
    runtime.close()
