"""The documents are executable: every block runs as it stands, or says why the tests do not run it."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from mailctl import runtime
from mailctl.domain.catalog import WELCOME
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import CampaignRecorder
from tests.acceptance.blocks import DOCUMENTS, Language, blocks_of
from tests.acceptance.conftest import SMTP_PASSWORD
from tests.acceptance.console import Console, run_python, steps_of
from tests.acceptance.service import Mailbox, links_in
from tests.integration.commands import DEAD, REFUSED, fail
from tests.servers import PostgresServer, RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.blocks import Block
    from tests.acceptance.terminal import Terminal
    from tests.smtp_server import Certificates, ScriptedSmtpServer

BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
RUNNABLE = [block for block in BLOCKS if block.language is not Language.TEXT and block.reason is None]
#: The service in one file and the commands that run it, which have a test of their own.
SERVICE = [block for block in RUNNABLE if block.file == "service.py" or "uvicorn service:app" in block.text]
OTHERS = [block for block in RUNNABLE if block not in SERVICE]
SECTIONS = [list(blocks) for _, blocks in groupby(OTHERS, key=lambda block: (block.document, block.section))]
DASHBOARD_PORT = 8025
#: The database of the service in one file.
_SHOP = "sqlite:///shop.db"

#: Python that comes before a block, for the names that it is given.
_LINK = """
from datetime import UTC, datetime, timedelta
from mailctl.security.links import LinkClaims, Links
from mailctl.settings import Settings

t = Links(Settings.load()).seal(LinkClaims(
    purpose="reset-password", user_id="42", email="zoe@example.com", action=None,
    expires_at=datetime.now(UTC) + timedelta(hours=1), token=datetime.now(UTC).isoformat(),
))
"""
_LOG = """
from mailctl.operations.maintenance import upgrade_schema

upgrade_schema(Settings.load())
"""
_SESSION = """
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

session = Session(create_engine(Settings.load().log_url))
"""
_ASYNC_SESSION = """
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

url = Settings.load().log_url.replace("sqlite:", "sqlite+aiosqlite:")
async_session = AsyncSession(create_async_engine(url))
"""
_JWT = """
import base64, hashlib, hmac, json

def encode(claims, key, algorithm):
    assert algorithm == "HS256"
    parts = {"alg": algorithm}, {**claims, "exp": int(claims["exp"].timestamp())}
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.digest(key.encode(), text, hashlib.sha256)
    return f"{text.decode()}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
"""
NAMES = {
    "t": _LINK,
    "t and session": _LINK + _LOG + _SESSION,
    "t and async_session": _LINK + _LOG + _ASYNC_SESSION,
}


class Reader:
    """Somebody who goes through a section of a document, in an empty folder."""

    def __init__(self, terminal: Terminal, request: pytest.FixtureRequest) -> None:
        self._terminal = terminal
        self._request = request
        self.console = Console(terminal)

    def follow(self, block: Block) -> None:
        """Prepare what a block is given, and run it."""
        if block.given in PREPARATIONS:
            PREPARATIONS[block.given](self)
        if block.language is Language.CONSOLE:
            self.console.run(block)
        elif block.file is not None:
            self.save(block)
        else:
            run_python(self._terminal, NAMES.get(block.given or "", "") + block.text, at=str(block))

    def save(self, block: Block) -> None:
        """Write a block into the file that it names, and see that Python can read it."""
        file = self._terminal.folder / str(block.file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
        run_python(self._terminal, f"import runpy\nrunpy.run_path({str(file)!r})", at=str(block))

    def have_a_library_for_tokens(self) -> None:
        """Stand in for PyJWT, of which the documents use one function."""
        (self._terminal.folder / "jwt.py").write_text(_JWT)

    def go_into_production(self) -> None:
        """Start the servers that the document names, and stand in for these names."""
        redis: RedisServer = self._request.getfixturevalue("readme_redis")
        database: PostgresServer = self._request.getfixturevalue("readme_database")
        mail_server: ScriptedSmtpServer = self._request.getfixturevalue("smtp_server")
        certificates: Certificates = self._request.getfixturevalue("certificates")
        self._terminal.environment |= {
            "REDIS_PORT": str(redis.port),
            "EMAIL_PORT": str(mail_server.port),
            "EMAIL_CA_FILE": str(certificates.ca_file),
        }
        self.console.values |= {
            "redis.internal": "127.0.0.1",
            "smtp.internal": "127.0.0.1",
            "db.internal": f"127.0.0.1:{database.port}",
            "SECRET_KEY=…": f"SECRET_KEY={secrets.token_urlsafe(48)}",
            "EMAIL_HOST_PASSWORD=…": f"EMAIL_HOST_PASSWORD={SMTP_PASSWORD}",
            ":…@": ":a-password@",
            "noreply@shop.example": "noreply@shop.internal",
        }

    def go_into_production_with_a_worker(self) -> None:
        """Do what the section on production says up to the worker."""
        self.go_into_production()
        block = next(block for block in RUNNABLE if block.given == "production")
        [settings] = [step for step in steps_of(block) if step.file == ".env"]
        self.console.write(".env", settings.shown)
        self._terminal.worker("-c", "1")

    def have_emails_refused(self) -> None:
        """Leave 12 emails in the log that the mail server refused, 2 of them for good."""
        self._request.getfixturevalue("monkeypatch").chdir(self._terminal.folder)
        rows = [RecipientRow(line=n, email=f"user{n}@example.com", name="Ada") for n in range(12)]
        campaign = CampaignRecorder(runtime.current(), EmailRequest(campaign="refused", kind=WELCOME))
        recorded = [email_id for batch in campaign.record(rows) for email_id, _ in batch.emails]
        for n, email_id in enumerate(recorded):
            fail(email_id, DEAD if n < 2 else REFUSED)


PREPARATIONS: dict[str | None, Callable[[Reader], None]] = {
    "jwt": Reader.have_a_library_for_tokens,
    "production": Reader.go_into_production,
    "production with a worker": Reader.go_into_production_with_a_worker,
    "12 emails refused with 550, 2 of them because the mailbox is dead": Reader.have_emails_refused,
}


@pytest.fixture
def reader(terminal: Terminal, request: pytest.FixtureRequest) -> Reader:
    """Whoever goes through the document."""
    return Reader(terminal, request)


@pytest.mark.parametrize(
    "section", SECTIONS, ids=lambda section: f"{section[0].document}-{section[0].section}"
)
def test_every_block_of_a_section_runs_as_it_stands(section: list[Block], reader: Reader) -> None:
    """One after the other in one folder; commands end with 0 and print what is shown."""
    if any("mailctl web" in block.text for block in section) and not is_free(DASHBOARD_PORT):
        pytest.skip(f"port {DASHBOARD_PORT} is in use")
    for block in section:
        reader.follow(block)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_service_in_one_file_confirms_addresses(
    reader: Reader, terminal: Terminal, database: str, request: pytest.FixtureRequest
) -> None:
    """Signing up sends a link, its button confirms the address; any other link gets a page that says so."""
    url = _SHOP if database == "sqlite" else request.getfixturevalue("postgres_url")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    terminal.environment |= {"UVICORN_PORT": str(port), "FRONTEND_URL": address}
    for block in SERVICE:
        reader.follow(at_database(block, url))
    with httpx.Client(base_url=address, timeout=30) as client:
        assert client.post("/sign-up", data={"email": "zoe@example.com"}).status_code == 200
        assert client.post("/sign-up", data={"email": "nobody"}).status_code == 422
        [message] = Mailbox(terminal, None).messages(1, terminal.windows[-1])
        [link] = links_in(message)
        page = client.get(link)
        assert (page.status_code, page.headers["Referrer-Policy"]) == (200, "no-referrer")
        assert client.post(link).json() == {"detail": "Your address is confirmed."}
        for wrong in (f"{link}x", link.replace("t=", "t=x"), "/verify-email", "/verify-email?t=%00"):
            for answer in (client.get(wrong), client.post(wrong)):
                assert (answer.status_code, answer.text) == (
                    400,
                    "<p>This link is not valid. Ask for a new one.</p>",
                )
        assert client.get("/mail/healthz").status_code == 200
    assert terminal.run("send", "welcome", "--user-id", "1", "--json").code == 0
    assert terminal.run("list", "--kind", "welcome", "--json").lines[0]["to"] == "zoe@example.com"


def at_database(block: Block, url: str) -> Block:
    """Return a block that names another database than the document does."""
    driver, rest = url.split(":", 1)
    asynchronous = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[driver]
    moved = block.text.replace(_SHOP.replace("sqlite", "sqlite+aiosqlite"), f"{asynchronous}:{rest}")
    return replace(block, text=moved.replace(_SHOP, url))


def test_what_is_not_run_says_why() -> None:
    """A reason is a sentence; and nothing that is Python or commands is taken for plain text."""
    assert all(len(block.reason) > 10 for block in BLOCKS if block.reason is not None)
    texts = [block.text for block in BLOCKS if block.language is Language.TEXT]
    assert [text for text in texts if re.search(r"(?m)^(\$ |import |from |(await|async) )", text)] == []


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this computer."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def readme_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis without a password, as the document has it."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def readme_database(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """PostgreSQL with the database of the shop, its user, and the customer whose id is 42."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE app LOGIN")
        connection.execute("CREATE DATABASE shop OWNER app")
    with psycopg.connect(postgres_server.database_url("shop").replace("postgres@", "app@")) as connection:
        connection.execute(
            "CREATE TABLE users (id int PRIMARY KEY, email text, username text, first_name text)"
        )
        connection.execute("INSERT INTO users VALUES (42, 'zoe@shop.example', 'zoe', 'Zoe')")
    yield postgres_server
    postgres_server.drop_database(postgres_server.database_url("shop"))
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("DROP ROLE app")
