"""What processes do not agree on, from their identities alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.checks.agreement import AgreementSubject, Disagreement, find_disagreements
from mailctl.delivery_log.heartbeats import MAX_CLOCK_SKEW_SECONDS
from tests.workers import IDENTITY, worker

if TYPE_CHECKING:
    from mailctl.delivery_log.heartbeats import Worker


def running(name: str, *, skew: float | None = 0.0, **identity: Any) -> Worker:
    """Return a worker that runs with what this process has, but for some of it."""
    return worker(
        id=name,
        name=name,
        host=f"host-{name}",
        clock_skew=skew,
        identity=replace(IDENTITY, **identity),
    )


def only(workers: list[Worker], **more: Any) -> Disagreement:
    """Return the one thing that is wrong."""
    [found] = find_disagreements(workers, IDENTITY, **more)
    return found


def test_the_same_everywhere_is_an_agreement() -> None:
    """Also if nobody else is there, or if a worker is of a version that does not say what it has."""
    assert find_disagreements([running("a"), running("b")], IDENTITY, own_skew_seconds=0.1) == []
    assert find_disagreements([], IDENTITY) == []
    assert find_disagreements([worker(identity=None)], IDENTITY) == []


def test_one_worker_has_another_key() -> None:
    """It is named alone, and what it cannot do."""
    found = only([running("a"), running("b", keys=("bbb",))])
    assert (found.subject, found.workers, found.is_failure) == (AgreementSubject.KEYS, ("b",), True)
    assert (
        found.detail == "worker b has another SECRET_KEY and cannot read the emails that this process records"
    )


def test_this_process_has_another_key_than_all_workers() -> None:
    """Then it is the one that differs."""
    found = only([running("a", keys=("bbb",)), running("b", keys=("bbb",))])
    assert found.workers == ()
    assert found.detail.startswith("the SECRET_KEY of this process differs from the key of workers a, b, so")


def test_a_key_that_is_being_rotated_is_no_disagreement() -> None:
    """A worker that still accepts the earlier one reads what is recorded with it."""
    assert find_disagreements([running("a", keys=("new", "aaa"))], IDENTITY) == []


def test_a_worker_that_lacks_the_new_key_of_another_is_named() -> None:
    """Both read what this process records, but not what the other one does."""
    found = only([running("a", keys=("new", "aaa")), running("b")])
    assert found.workers == ("b",)
    assert found.detail.endswith("cannot read the emails that worker a records")


@pytest.mark.parametrize(
    ("seconds", "said"), [(8.0, "8.0 s ahead of"), (-8.0, "8.0 s behind"), (MAX_CLOCK_SKEW_SECONDS, None)]
)
def test_a_clock_may_be_off_a_little(seconds: float, said: str | None) -> None:
    """Further off, the worker and its host are named."""
    found = find_disagreements([running("a", skew=seconds)], IDENTITY)
    assert [each.detail for each in found] == (
        [f"the clock of worker a (host host-a) is {said} that of the database"] if said else []
    )


def test_the_clock_of_this_host_may_be_the_one_that_is_off() -> None:
    """Not every clock but this one."""
    found = only([running("a")], own_skew_seconds=-60.0)
    assert (found.workers, found.detail) == (
        (),
        "the clock of this host is 60.0 s behind that of the database",
    )


def test_a_worker_that_has_opened_another_log_is_named() -> None:
    """A file that was replaced has another id."""
    found = only([running("a"), running("b", log_id="log-2")])
    assert (found.subject, found.workers) == (AgreementSubject.LOG, ("b",))


def test_a_worker_that_captures_beside_one_that_sends_is_a_failure() -> None:
    """Some emails would never be sent; if all capture, only this process differs, which may be on purpose."""
    mixed = only([running("a"), running("b", mail_server="")])
    assert (mixed.workers, mixed.is_failure) == (("b",), True)
    assert mixed.detail == "worker b captures emails to files (EMAIL_ENABLED=False), unlike worker a"
    assert not only([running("b", mail_server="")]).is_failure


@pytest.mark.parametrize(
    ("subject", "other"),
    [
        (AgreementSubject.MAIL_SERVER, {"mail_server": "mx:25"}),
        (AgreementSubject.VERSION, {"version": "2.0"}),
    ],
)
def test_other_servers_and_versions_are_no_failure(subject: AgreementSubject, other: dict[str, str]) -> None:
    """They may be on purpose, as during an upgrade; each value is shown with who has it."""
    found = only([running("a"), running("b", **other)])
    [value] = other.values()
    assert (found.subject, found.is_failure) == (subject, False)
    assert f"b: {value}" in found.detail
    assert "a, this process: " in found.detail


def test_settings_of_workers_are_compared_by_their_fingerprints() -> None:
    """Those of the process that checks do not count; another version does not report any."""
    shop, test = {"EMAIL_FROM_NAME": "11", "EMAIL_TLS": "22"}, {"EMAIL_FROM_NAME": "33", "EMAIL_TLS": "22"}
    workers = [running("a", settings=shop), running("b", settings=test), running("c", settings=shop)]
    [found] = find_disagreements(workers, IDENTITY)
    assert (found.subject, found.is_failure) == (AgreementSubject.SETTINGS, False)
    assert found.detail == "settings of workers a, b, c differ: EMAIL_FROM_NAME"
    assert find_disagreements([running("a", settings=shop)], IDENTITY) == []


def test_templates_are_compared_by_their_fingerprints() -> None:
    """Also with those of this process, if it has any: a worker reads a template once."""
    old, new = {"reset.html": "11", "base.html": "22"}, {"reset.html": "33", "base.html": "22"}
    found = only([running("a", templates=old), running("b", templates=new)])
    assert (found.subject, found.is_failure) == (AgreementSubject.TEMPLATES, False)
    assert found.detail == "templates of workers a, b differ: reset.html"
    [found] = find_disagreements([running("a", templates=old)], replace(IDENTITY, templates=new))
    assert found.detail == "templates of worker a and of this process differ: reset.html"
    assert find_disagreements([running("a", templates=old)], IDENTITY) == []


def test_only_some_of_many_templates_are_named() -> None:
    """A sentence stays one."""
    found = only([running("a", templates={f"{n}.html": "1" for n in range(7)}), running("b")])
    assert found.detail.endswith("differ: 0.html, 1.html, 2.html, 3.html, 4.html and 2 more")
