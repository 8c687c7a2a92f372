"""A home of its own for each test, and what runs in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from tests.acceptance.desk import Desk
from tests.acceptance.terminal import Terminal
from tests.servers import RedisServer
from tests.smtp_server import Certificates, ScriptedSmtpServer, test_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: The property of a report that `tests.conftest.TABLES` prints.
INCIDENTS = "incidents"
SECRET_KEY = "an-acceptance-test-secret-key-of-some-length"
SMTP_PASSWORD = "smtp-password-canary"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in an empty folder, where nothing is set up."""
    folder = tmp_path / "work"
    folder.mkdir()
    with Terminal(folder) as terminal:
        yield terminal


@pytest.fixture
def client(redis: RedisServer) -> Iterator[Celery]:
    """A plain Celery client that knows the broker's address and nothing of mailctl."""
    with Celery("client", broker=redis.url, backend=redis.url, set_as_current=False) as app:
        yield app
        app.backend.client.connection_pool.disconnect()


@pytest.fixture
def desk(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """An operator in the terminal's folder, whose commands run in the process of the test."""
    return Desk(terminal.folder, monkeypatch, capsys)


#: A command in a fix; what looks for a cause is none.
_COMMAND = re.compile(r"\b(?:mailctl|kill) [-\w]+")


class OnCall:
    """Asks what is wrong now and why an email waits, and notes both for the table of incidents.

    The first command is `incident`. Who is told another cause, or that nothing needs a repair, asks `why`.
    """

    def __init__(self, desk: Desk, note: Callable[[tuple[str, ...]], None], name: str) -> None:
        self._desk = desk
        self._note = note
        self._name = name

    def first(self, task_id: str | None = None, *, name: str = "") -> tuple[str, str]:
        """Return the name of the first problem, and that of the first cause of an email."""
        found, why = self._ask(task_id)
        nothing = {"name": "-", "sentence": found["headline"], "fix": ""}
        first = found["problems"][0] if found["problems"] else nothing
        is_told_at_once = task_id is None or first["name"] == why["cause"] or not found["ok"]
        fix = first["fix"] if is_told_at_once else why["next_step"] or ""
        to_cause, to_fix = 1 if is_told_at_once else 2, len(_COMMAND.findall(fix))
        assert to_fix <= 1, fix
        sentence = first["sentence"][:90]
        self._note((name or self._name, why["cause"], str(to_cause), str(to_fix), sentence))
        return first["name"], why["cause"]

    def _ask(self, task_id: str | None) -> tuple[Any, Any]:
        """Return the answers of both between two attempts: during one, a worker has the email in hand."""
        if task_id is None:
            return self._desk.incident(), {"cause": "-", "next_step": None}
        answers: list[tuple[Any, Any]] = []

        def is_between_attempts() -> bool:
            answers.append((self._desk.incident(), self._desk.why(task_id)["causes"][0]))
            return bool(answers[-1][1]["cause"] != "in_hand")

        self._desk.wait_for(is_between_attempts, task_id)
        return answers[-1]


@pytest.fixture
def on_call(request: pytest.FixtureRequest, desk: Desk) -> OnCall:
    """An engineer on call; what they are told goes into a table."""
    name = request.node.name.removeprefix("test_").replace("_", " ")
    properties = request.node.user_properties
    return OnCall(desk, lambda row: properties.append((INCIDENTS, row)), name)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority of our own."""
    return test_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def smtp_server(certificates: Certificates) -> Iterator[ScriptedSmtpServer]:
    """A mail server with STARTTLS and a password."""
    server = ScriptedSmtpServer(ssl_context=certificates.server, credentials=("app", SMTP_PASSWORD))
    with server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may stop."""
    with RedisServer(tmp_path / "redis", password="redis-password-canary") as server:
        yield server


@pytest.fixture
def production(
    terminal: Terminal,
    redis: RedisServer,
    smtp_server: ScriptedSmtpServer,
    certificates: Certificates,
) -> Terminal:
    """A terminal whose .env is that of production: Redis, and SMTP with STARTTLS and a password."""
    terminal.set(
        DEBUG="False",
        REDIS_HOST="127.0.0.1",
        REDIS_PORT=redis.port,
        REDIS_PASSWORD=redis.password,
        SECRET_KEY=SECRET_KEY,
        PROJECT_NAME="Shop",
        EMAIL_FROM_ADDRESS="noreply@shop.internal",
        FRONTEND_URL="https://shop.example",
        EMAIL_ENABLED="True",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=smtp_server.port,
        EMAIL_HOST_USER="app",
        EMAIL_HOST_PASSWORD=SMTP_PASSWORD,
        EMAIL_CA_FILE=certificates.ca_file,
        MAILCTL_RETRY_FIRST_SECONDS="1",
    )
    return terminal
