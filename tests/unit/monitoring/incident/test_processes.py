"""Problems of workers, by what the log has of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.broker.shared_queues import MailctlWorker
from mailctl.delivery_log.heartbeats import DEAD_AFTER_SECONDS
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import workers
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.monitoring.incident.processes import find_undecryptable, find_worker_problems
from tests.unit.monitoring.incident.conftest import names

if TYPE_CHECKING:
    from mailctl.monitoring.incident.evidence import LogFacts
    from tests.unit.monitoring.incident.conftest import Scene


def test_a_worker_for_every_queue_is_no_problem(scene: Scene) -> None:
    """Neither are emails that wait for it."""
    scene.worker()
    scene.add(2)
    assert names(find_worker_problems(scene.facts())) == []


def test_no_worker_holds_up_all_that_is_ready(scene: Scene) -> None:
    """Also while nothing waits it is a problem."""
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.held_up, found.fix) == ("no_worker", 0, "Start one: mailctl worker")
    scene.add(3)
    [found] = find_worker_problems(scene.facts())
    assert found.held_up == 3


def test_a_queue_without_a_worker_is_named_with_those_that_workers_consume(scene: Scene) -> None:
    """Only if emails wait there."""
    scene.worker(queues=("reports",))
    assert names(find_worker_problems(scene.facts())) == []
    scene.add(2)
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.held_up, found.fix) == ("wrong_queue", 2, "Start one: mailctl worker")
    assert "good consumes reports" in found.sentence


def test_a_worker_with_another_log_is_the_cause_of_what_is_not_sent(scene: Scene) -> None:
    """Not the live workers that do not get these emails; those that share the log are known by heartbeats."""
    scene.worker(queues=("celery", "mailctl.bulk"))
    then = scene.runtime.clock() - timedelta(minutes=5)
    with writing(scene.runtime.engine) as connection:
        connection.execute(workers.update().values(started_at=then))
    for each in scene.add(2):
        scene.change(each, state=State.QUEUED, queued_at=then, created_at=then, due_at=then)
    assert "worker_stalled" in names(find_worker_problems(scene.facts()))
    facts = scene.facts()
    has_another_log(facts)
    [found] = find_worker_problems(facts)
    assert (found.name, found.held_up) == ("other_log", 2)
    assert found.sentence.startswith("Worker stranger@web consumes celery but has another delivery log")
    assert found.fix.startswith("Give them and this process the same log (MAILCTL_HOME or ")


def has_another_log(facts: LogFacts, *, keys: tuple[str, ...] = ()) -> None:
    """A worker answers on the broker that has no heartbeat in the log."""
    stranger = MailctlWorker(name="stranger@web", queues=("celery",), keys=keys)
    facts.ask_workers = lambda: (
        {worker.name: worker.queues for worker in facts.workers} | {stranger.name: ("celery", "reports")}
    )
    facts.find_other_workers = lambda _nodes: [stranger]


def test_a_worker_with_another_log_may_send_where_no_worker_shares_it(scene: Scene) -> None:
    """Messages then carry everything: it is a note. Another key makes their links invalid."""
    scene.add(2)
    facts = scene.facts()
    has_another_log(facts, keys=("0000000000000000",))
    log, key = find_worker_problems(facts)
    assert (log.name, log.is_failure, log.held_up) == ("other_log", False, 0)
    assert log.sentence.endswith("it sends emails of this log, which does not show what became of them")
    assert (key.name, key.is_failure) == ("wrong_key", False)
    assert "has a SECRET_KEY that differs from the key of this process" in key.sentence


def test_the_emails_of_a_dead_worker_wait_for_its_lease(scene: Scene) -> None:
    """It is told by when others take them over."""
    scene.worker("gone")
    then = scene.runtime.clock() - timedelta(seconds=DEAD_AFTER_SECONDS + 5)
    with writing(scene.runtime.engine) as connection:
        connection.execute(workers.update().values(seen_at=then))
    scene.worker("other")
    [email_id] = scene.add()
    scene.claim(email_id, by="gone")
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.held_up) == ("lease_of_dead_worker", 1)
    assert found.sentence.startswith("Worker gone (process ")
    assert ") died while sending; other workers take over its emails" in found.sentence


def test_a_worker_that_has_signed_off_may_be_finishing_its_emails(scene: Scene) -> None:
    """Which is a note until its leases have expired."""
    scene.worker("other")
    [email_id] = scene.add()
    scene.claim(email_id, by="stopped")
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.held_up, found.is_failure) == ("worker_stopping", 1, False)
    scene.change(email_id, lease_until=scene.runtime.clock() - timedelta(seconds=5))
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.is_failure) == ("lease_of_dead_worker", True)


def test_emails_that_nobody_publishes_need_a_worker_of_their_log(scene: Scene) -> None:
    """One with another log takes only what is on the broker."""
    [email_id] = scene.add()
    scene.change(email_id, updated_at=scene.runtime.clock() - timedelta(minutes=1))
    facts = scene.facts()
    has_another_log(facts)
    found = {each.name: each for each in find_worker_problems(facts)}
    assert (found["no_worker"].held_up, found["no_worker"].is_failure) == (1, True)


def test_what_this_process_cannot_decrypt_is_a_problem(scene: Scene) -> None:
    """Before a worker has tried it."""
    [email_id] = scene.add()
    assert names(find_undecryptable(scene.facts())) == []
    scene.change(email_id, content=b"something else")
    [found] = find_undecryptable(scene.facts())
    assert (found.name, found.held_up) == ("wrong_key", 1)
    assert found.fix.endswith(": mailctl check-config")


def test_a_live_worker_that_does_not_finish_is_named(scene: Scene) -> None:
    """Its lease has expired."""
    scene.worker()
    [email_id] = scene.add()
    scene.claim(email_id)
    scene.change(email_id, lease_until=scene.runtime.clock() - timedelta(seconds=5))
    assert names(find_worker_problems(scene.facts())) == ["lease_expired"]


def test_a_process_that_died_while_sending_is_a_problem_until_the_email_is_sent(scene: Scene) -> None:
    """Its email waits, or is sent again, by a worker that is alive."""
    scene.worker()
    waiting, again = scene.add(2)
    for email_id in (waiting, again):
        scene.change(email_id, reason_code=ReasonCode.PROCESS_DIED)
    scene.claim(again)
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.held_up) == ("process_died", 2)
    assert found.sentence == "A process of the pool of good died while it was sending"
    scene.change(waiting, reason_code=None)
    scene.change(again, reason_code=None)
    assert names(find_worker_problems(scene.facts())) == []


def test_a_silent_worker_is_named_with_what_it_held(scene: Scene) -> None:
    """Beside one that is alive, and as the last one that was."""
    scene.worker("gone")
    [email_id] = scene.add()
    scene.claim(email_id, by="gone")
    then = scene.runtime.clock() - timedelta(seconds=DEAD_AFTER_SECONDS + 5)
    with writing(scene.runtime.engine) as connection:
        connection.execute(workers.update().values(seen_at=then, started_at=then))
    first, *_ = find_worker_problems(scene.facts())
    assert first.name == "no_worker"
    assert "it was sending 1 email" in first.sentence
    scene.worker("other")
    [found] = find_worker_problems(scene.facts())  # one line for one death
    assert (found.name, found.held_up) == ("lease_of_dead_worker", 1)
    assert found.sentence.startswith("Worker gone (process ")


def test_workers_that_capture_are_named(scene: Scene) -> None:
    """Because this process means its emails to be sent."""
    scene.worker("files", mail_server="")
    [found] = find_worker_problems(scene.facts())
    assert (found.name, "files" in found.sentence) == ("captured", True)


def test_another_key_holds_up_what_could_not_be_read(scene: Scene) -> None:
    """That other mail servers may be on purpose makes it a note."""
    scene.worker("good")
    scene.worker("bad", keys=("bbb",), mail_server="other:25")
    [email_id] = scene.add()
    scene.change(email_id, state=State.DEFERRED, reason_code=ReasonCode.UNREADABLE_CONTENT, error="key")
    found = {each.name: each for each in find_worker_problems(scene.facts())}
    assert (found["wrong_key"].held_up, found["wrong_key"].is_failure) == (1, True)
    assert not found["mail_servers_differ"].is_failure


def test_what_no_worker_could_read_is_a_problem_although_all_have_the_same_key(scene: Scene) -> None:
    """A process that is no worker has recorded it, with another key."""
    scene.worker()
    [email_id] = scene.add()
    scene.change(email_id, state=State.DEFERRED, reason_code=ReasonCode.UNREADABLE_CONTENT, error="key")
    [found] = find_worker_problems(scene.facts())
    assert (found.name, found.held_up, found.is_failure) == ("wrong_key", 1, True)
    assert found.sentence.startswith("1 email was not decrypted when a worker tried: it was encrypted with")
    assert found.fix.endswith(": mailctl check-config")
