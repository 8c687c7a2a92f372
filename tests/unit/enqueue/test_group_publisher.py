"""Many emails are published in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.due import GROUP_SIZE
from mailctl.domain.catalog import RESET
from mailctl.enqueue.grouping import MAX_SINGLE_EMAILS
from mailctl.errors import BrokerUnavailable
from mailctl.settings import GROUPS_QUEUE
from tests.unit.enqueue.publishing import FailingProducer, Site

if TYPE_CHECKING:
    from mailctl.domain.models import Draft
    from tests.unit.enqueue.conftest import MakeRuntime


class TestManyEmails:
    """More than a few."""

    COUNT = MAX_SINGLE_EMAILS + GROUP_SIZE + 1

    def drafts(self, site: Site) -> list[Draft]:
        """Return drafts for a worker that takes groups; the last one is a reset."""
        site.worker.queues = (site.queue, GROUPS_QUEUE)
        list(site.messages(GROUPS_QUEUE))
        return [*(site.draft() for _ in range(self.COUNT - 1)), site.draft(RESET)]

    def test_a_relay_publishes_a_few_one_by_one_and_the_others_in_groups(self, site: Site) -> None:
        """Security emails first, the others as they came."""
        drafts = self.drafts(site)
        assert site.publisher.publish_all(drafts) == self.COUNT
        ids = [drafts[-1].id, *(draft.id for draft in drafts[:-1])]
        assert site.publications.queued == ids[:MAX_SINGLE_EMAILS]
        assert site.publications.grouped == ids[MAX_SINGLE_EMAILS:]
        assert [headers["id"] for headers, _, _ in site.messages()] == ids[:MAX_SINGLE_EMAILS]
        sizes = [len(args[0]) for _, args, _ in site.messages(GROUPS_QUEUE)]
        assert sizes == [GROUP_SIZE, 1]

    def test_another_process_leaves_them_to_relays(self, site: Site) -> None:
        """Which release them with those of other processes."""
        drafts = self.drafts(site)
        site.publisher.groups._is_relay = False
        assert site.publisher.publish_all(drafts) == MAX_SINGLE_EMAILS
        assert len(site.publications.left) == GROUP_SIZE + 1
        assert list(site.messages(GROUPS_QUEUE)) == []

    def test_while_groups_wait_none_is_published_one_by_one(self, site: Site) -> None:
        """Workers take single emails first, and would not reach the groups."""
        drafts = self.drafts(site)
        site.publisher.publish_all(drafts)
        site.publisher.groups._single_emails = (0.0, 0)
        list(site.messages())
        assert site.publisher.publish_all([site.draft(RESET)]) == 1
        assert list(site.messages()) == []

    @pytest.mark.parametrize("messages", ["auto", "full"])
    def test_a_worker_that_takes_no_groups_gets_each_email(
        self, make_runtime: MakeRuntime, messages: str
    ) -> None:
        """So does any worker if messages have to hold the whole email."""
        site = Site(make_runtime(mailctl_messages=messages))
        drafts = [site.draft() for _ in range(self.COUNT)]
        if messages == "full":
            site.worker.queues = (site.queue, GROUPS_QUEUE)
        assert site.publisher.publish_all(drafts) == self.COUNT
        assert len(list(site.messages())) == self.COUNT

    def test_emails_are_not_lost_with_a_group_that_is_not_published(self, site: Site) -> None:
        """They go back to the log."""
        self.drafts(site)
        returned: list[Any] = []
        site.publications.take_group = lambda *_, **__: ["a", "b"]  # type: ignore[attr-defined]
        site.runtime.claims.return_unstarted = lambda ids, **_: returned.append(ids)  # type: ignore[method-assign]
        producer = site.publisher._sender._open_producer()
        site.publisher._sender._producer = FailingProducer(producer, ConnectionResetError("gone"))
        with pytest.raises(BrokerUnavailable):
            site.publisher.groups.publish_due(limit=10)
        assert returned == [["a", "b"]]
