"""What the pages of the dashboard show, and what they answer to a wrong request."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mailctl import runtime, web
from mailctl.delivery_log.pauses import PauseScope
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.feedback import Feedback, FeedbackKind, Proof, record
from mailctl.monitoring.incident.report import find_logged_incident
from mailctl.runtime import Runtime
from mailctl.web.overview_figures import SHARED_SECONDS, overview_figures
from tests.integration.web.site import ENDPOINTS, PAGES, TOKEN, Site
from tests.web_server import serving
from tests.workers import worker

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.settings import Settings


class TestContents:
    def test_links_and_tokens_are_masked(self, site: Site) -> None:
        """On the page, in the frame, and in the API."""
        with site.client(site.key.plaintext) as client:
            for path in site.paths(PAGES + ENDPOINTS):
                text = client.get(path).text
                assert TOKEN not in text
                assert not re.search(r"\?t=(?!\*\*\*|…|SAMPLE-)", text)
            assert "/reset-password?t=***" in client.get(f"/emails/{site.email_id}").text

    def test_who_unsubscribed_is_listed(self, site: Site) -> None:
        """By address and kind, page by page, with the command that undoes it; not among the suppressed."""
        for name in ("ann", "ben"):
            runtime.current().unsubscribes.add(f"{name}@list.example", kind="newsletter")
        with site.client(site.key.plaintext) as client:
            page = client.get("/suppressions?source=unsubscribed&limit=1").text
            assert ("ann@list.example" in page, "ben@list.example" in page) == (True, False)
            assert "mailctl suppress remove ann@list.example --kind newsletter" in page
            [rest] = re.findall(r'rel="next" href="([^"]+)"', page)
            assert "ben@list.example" in client.get(f"/suppressions{unescape(rest)}").text
            assert "ann@list.example" not in client.get("/suppressions").text
            first = client.get("/api/unsubscribes", params={"limit": 1}).json()
            second = client.get("/api/unsubscribes", params={"after": first["next"]}).json()
        found = [(each["address"], each["kind"]) for each in first["unsubscribes"] + second["unsubscribes"]]
        assert found == [("ann@list.example", "newsletter"), ("ben@list.example", "newsletter")]
        assert second["next"] is None

    def test_filters_are_those_of_the_command(self, site: Site) -> None:
        """Empty fields of the form are ignored; the page shows the command that prints the same list."""
        other = site.record("zoe@example.com", kind="welcome")
        with site.client(site.key.plaintext) as client:
            page = client.get("/emails?to=ZOE&state=&kind=welcome&error=&since=1h").text
            assert (other in page, site.email_id in page) == (True, False)
            assert "mailctl list --kind welcome --to ZOE --since 1h" in page
            found = client.get("/api/emails", params={"kind": "reset"}).json()
            assert [each["task_id"] for each in found["emails"]] == [site.email_id]
            assert client.get("/emails?state=gone").status_code == 422
            assert client.get("/api/emails?since=soon").status_code == 422

    @pytest.mark.parametrize("path", ["/emails", "/api/emails"])
    def test_an_unknown_queue_or_campaign_is_an_error(self, site: Site, path: str) -> None:
        """It is not an empty list, as for `mailctl list`; a known queue without emails is one."""
        with site.client(site.key.plaintext) as client:
            unknown = client.get(path, params={"queue": "clery"})
            assert unknown.status_code == 404
            assert "There is no queue" in unknown.text
            assert "Did you mean" in unknown.text
            assert client.get(path, params={"queue": "mailctl.bulk"}).status_code == 200
            assert client.get(path, params={"campaign": "sprnig"}).status_code == 404

    def test_every_email_is_on_one_page(self, site: Site) -> None:
        """The cursor of a page leads to the next one."""
        ids = [site.email_id, *(site.record(f"user{number}@example.com") for number in range(4))]
        with site.client(site.key.plaintext) as client:
            first = client.get("/api/emails?limit=3").json()
            rest = client.get(f"/api/emails?limit=3&after={first['next']}").json()
            listed = [each["task_id"] for each in (*first["emails"], *rest["emails"])]
            assert (listed, rest["next"]) == (ids[::-1], None)
            assert 'rel="next"' in client.get("/emails?limit=3").text

    def test_one_email_is_explained(self, site: Site) -> None:
        """With its events and the commands that apply; a unique prefix of its id is enough."""
        with site.client(site.key.plaintext) as client:
            page = client.get(f"/emails/{site.email_id[:8]}").text
            assert "no worker" in page
            assert f"mailctl cancel {site.email_id}" in page
            answer = client.get(f"/api/emails/{site.email_id}").json()
            assert (answer["state"], answer["events"][0]["state"]) == ("pending", "pending")
            assert client.get("/emails/ffffffff").status_code == 404

    def test_text_is_escaped(self, site: Site) -> None:
        """Markup in a reason is shown as text."""
        runtime.current().publications.fail(site.email_id, reason="<script>alert(1)</script>")
        with site.client(site.key.plaintext) as client:
            for path in ("/emails", f"/emails/{site.email_id}"):
                assert "<script>alert" not in client.get(path).text


def test_the_statistics_have_what_became_of_accepted_emails(site: Site) -> None:
    """As `mailctl stats` has: the totals, and the shares of each group."""
    parts = runtime.current()
    [claim] = parts.claims.claim([site.email_id], worker="w@host").claims
    accepted = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"), stage="body")
    parts.attempt_results.finish(claim, State.SENT, outcome=accepted, message_id="<a@shop.example>")
    bounce = Feedback(
        source="dsn",
        source_id="1",
        kind=FeedbackKind.BOUNCED,
        proof=Proof.VERIFIED,
        email_id=site.email_id,
        recipient="ada@example.com",
    )
    assert record(parts, [bounce]).recorded == 1
    with site.client(site.key.plaintext) as client:
        pages = [client.get("/stats", params={"by": by}).text for by in ("provider", "domain", "server")]
    for page in pages:
        assert '<td data-name="bounced">100.0%</td>' in page
        assert '<td data-name="delivered">-</td>' in page
        assert "<dt>Bounced</dt><dd><b>1</b>" in page
    assert '<td class="address">example.com</td>' in pages[1]


class TestOverview:
    def test_it_begins_with_what_is_wrong(self, site: Site) -> None:
        """In words and colours, as `mailctl incident` says it, such as a paused queue without a worker."""
        parts = runtime.current()
        parts.pauses.pause(PauseScope.QUEUE, "celery", actor="zoe", reason="maintenance")
        with site.client(site.key.plaintext) as client:
            page = client.get("/overview").text
        first = find_logged_incident(parts).problems[0]
        assert page.index(escape(first.sentence)) < page.index("Last minute")
        assert 'class="state fail">fail' in page
        marks = '<span class="state paused">paused</span> <span class="state fail">no worker answers</span>'
        assert marks in page
        assert '<b class="danger">0</b>' in page  # workers

    def test_notes_follow_the_words_that_nothing_is_wrong(self, site: Site) -> None:
        """A pause that holds up nothing is a note."""
        parts = runtime.current()
        parts.workers.record_heartbeat(worker(host="another-host", identity=parts.identity))
        parts.pauses.pause(PauseScope.KIND, "new-ip", actor="zoe", reason="")
        found = find_logged_incident(parts)
        assert (found.is_ok, len(found.problems) > 0) == (True, True)
        with site.client(site.key.plaintext) as client:
            page = client.get("/overview").text
        assert page.index('class="state ok">ok</span> Nothing is wrong') < page.index(
            'class="state note">note'
        )

    def test_pages_agree_on_how_long_the_oldest_email_has_waited(self, site: Site) -> None:
        """Whatever page one looks at."""
        ages = {}
        with site.client(site.key.plaintext) as client:
            for page in ("/overview", "/queues"):
                found = re.search('data-name="oldest">([^<]+)<', client.get(page).text)
                assert found is not None
                ages[page] = found[1]
        assert "-" not in ages.values()

    def test_figures_are_as_old_as_the_end_of_reading_them(self, settings: Settings) -> None:
        """Otherwise a log that takes longer to read than they are shared would be read for each viewer."""
        parts, now = Runtime(settings), [0.0]

        def pass_time(*_: object) -> None:
            now[0] += SHARED_SECONDS

        event.listen(parts.engine, "before_cursor_execute", pass_time)
        first = overview_figures(parts, clock=lambda: now[0])
        assert now[0] > SHARED_SECONDS
        assert overview_figures(parts, clock=lambda: now[0]) is first
        parts.close()

    def test_viewers_share_its_figures(self, settings: Settings) -> None:
        """For two seconds; then, or in another runtime, they are read again."""
        parts, now = runtime.current(), [0.0]
        first = overview_figures(parts, clock=lambda: now[0])
        now[0] = SHARED_SECONDS - 0.1
        assert overview_figures(parts, clock=lambda: now[0]) is first
        now[0] = SHARED_SECONDS
        second = overview_figures(parts, clock=lambda: now[0])
        assert second is not first
        other = Runtime(settings)
        assert overview_figures(other, clock=lambda: now[0]) is not second
        other.close()


class TestRequests:
    def test_what_answers_get_answers_head(self, site: Site) -> None:
        """Without a body, as probes and link checkers ask."""
        with site.client(site.key.plaintext) as client:
            for path in (
                "/healthz",
                "/login",
                "/static/style.css",
                *site.paths(("/overview", "/api/emails")),
            ):
                shown, head = client.get(path), client.head(path)
                assert (head.status_code, head.content) == (200, b""), path
                assert head.headers["content-type"] == shown.headers["content-type"]
        with site.client() as client:
            assert client.head("/api/emails").status_code == 401

    def test_a_browser_gets_a_page_for_an_address_that_does_not_exist(self, site: Site) -> None:
        """A program gets a problem document."""
        with site.client() as client:
            page = client.get("/nope", headers={"Accept": "text/html,*/*"})
            assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert "Not Found" in page.text
            assert page.headers["x-frame-options"] == "DENY"
            assert client.get("/nope").headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/emails?since=foo", 422), ("/emails?queue=clery", 404), ("/stats?until=foo", 422)],
    )
    def test_a_wrong_filter_is_reported_beside_the_form(self, site: Site, path: str, status: int) -> None:
        """Where it can be corrected, with what was typed in it."""
        with site.client(site.key.plaintext) as client:
            page = client.get(path)
            assert page.status_code == status
            assert 'role="alert"' in page.text
            assert f'value="{path.rpartition("=")[2]}"' in page.text

    def test_the_search_box_opens_the_email_that_it_names(self, site: Site) -> None:
        """By its id, the start of it or its idempotency key; a part of an address finds a list."""
        parts = runtime.current()
        user = make_user(email="zoe@example.com", id="8")
        content = make_content(BUILT_IN_KINDS["welcome"], user, origins=parts.link_origins)
        request = EmailRequest(kind=BUILT_IN_KINDS["welcome"], idempotency_key="order-17")
        [other] = Enqueuer(parts).record(request, [content]).ids
        with site.client(site.key.plaintext) as client:
            for text, found in ((other, other), (site.email_id[:12], site.email_id), ("order-17", other)):
                answer = client.get("/emails", params={"to": text})
                assert answer.headers.get("location") == f"/emails/{found}", text
            assert other in client.get("/emails", params={"to": "zoe@"}).text
            assert client.get("/emails", params={"to": other, "kind": "welcome"}).status_code == 200
            assert "No emails match" in client.get("/emails", params={"to": "order-18"}).text

    def test_errors_have_the_names_of_parameters(self, site: Site) -> None:
        """Not those of the options of a command."""
        with site.client(site.key.plaintext) as client:
            problem = client.get("/api/stats", params={"since": "1h", "until": "2h"}).json()
            assert problem["detail"] == "until must be later than since."


class TestPreviews:
    def test_every_kind_is_shown_and_checked(self, site: Site) -> None:
        """As HTML, text, headers and source, with links that do not work; built-in kinds have no findings."""
        with site.client(site.key.plaintext) as client:
            overview = client.get("/previews").text
            assert all(f"/previews/{kind}" in overview for kind in BUILT_IN_KINDS)
            for kind in BUILT_IN_KINDS:
                for part in ("html", "text", "headers", "source"):
                    page = client.get(f"/previews/{kind}?part={part}&width=phone")
                    assert page.status_code == 200
                    assert 'state warn"' not in page.text
                    assert 'state fail"' not in page.text
            assert "SAMPLE-this-link-does-not-work" in client.get("/previews/reset?part=text").text
            assert client.get("/previews/nothing").status_code == 404

    def test_a_preview_can_have_a_real_user(self, site: Site) -> None:
        """The user is looked up as by the commands."""
        with site.client(site.key.plaintext) as client:
            assert "ada@example.com" in client.get("/previews/welcome?part=headers&user_id=1").text
            assert client.get("/previews/welcome?user_id=999").status_code == 404

    def test_a_template_that_changes_shows_at_once(self, settings: Settings, tmp_path: Path) -> None:
        """The version changes; a missing variable, a broken link and low contrast are reported."""
        folder = tmp_path / "templates"
        folder.mkdir()
        (folder / "welcome.txt").write_text("Hello\n")
        (folder / "welcome.html").write_text("<p>Hello</p>")
        with serving(web.create_app(settings.model_copy(update={"mailctl_templates": folder}))) as address:
            site = Site(address)
            with site.client(site.key.plaintext) as client:
                before = client.get("/previews/welcome/version").json()["version"]
                assert client.get("/previews/welcome/version").json()["version"] == before
                (folder / "welcome.html").write_text('<p style="color:#aaaaaa">Hi <a href="#">x</a></p>')
                assert client.get("/previews/welcome/version").json()["version"] != before
                page = client.get("/previews/welcome").text
                assert "not absolute URLs: #" in page
                assert "2.32:1" in page
                (folder / "welcome.html").write_text("<p>{{ nothing }}</p>")
                page = client.get("/previews/welcome").text
                assert re.search("template instead of yours: [^<]*the variable nothing is missing", page)
