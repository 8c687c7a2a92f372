"""Every door through which a value enters: what it is called with, and how it says no."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import sys
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl import EmailService
from mailctl.cli.main import main
from mailctl.domain.catalog import GENERIC, NEW_IP, RESET, WELCOME
from mailctl.errors import ExitCode, InvalidInput
from tests.hostile.site import ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.site import Site

TO = "zoe@example.com"


@dataclass
class Person:
    """A user, as a service has one."""

    email: Any = TO
    username: Any = ""
    first_name: Any = ""
    id: Any = 7


def _cli(*arguments: str) -> bool:
    code = main(arguments)
    assert code in (ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.NOT_FOUND), code
    return code is not ExitCode.DONE


def _send_email(*more: str) -> bool:
    return _cli("send", "email", "--subject=Hello", "--set=body=x", *more)


def _one(value: Any, option: str) -> bool:
    to = () if option == "--email" else (f"--email={TO}",)
    return _send_email(*to, f"{option}={value}")


def _subject(site: Site, value: Any) -> bool:
    return _cli("send", "email", f"--email={TO}", "--set=body=x", f"--subject={value}")


def _ip(site: Site, value: Any) -> bool:
    return _cli("send", "new-ip", f"--email={TO}", f"--ip={value}")


def _token_stdin(site: Site, value: Any) -> bool:
    site.monkeypatch.setattr(sys, "stdin", io.StringIO(f"{value}\n"))
    return _cli("send", "reset", f"--email={TO}", "--token-stdin")


def _user_and_send(site: Site, *arguments: str) -> bool:
    from mailctl.users import require_embedded_directory

    if _cli("users", "add", *arguments):
        return True
    return _cli(
        "send",
        "welcome",
        f"--user-id={require_embedded_directory(site.runtime.directory).list_users()[-1].id}",
    )


def _users_add_email(site: Site, value: Any) -> bool:
    return _user_and_send(site, "--", value)


def _users_add_name(site: Site, value: Any) -> bool:
    return _user_and_send(site, f"{uuid.uuid4().hex}@example.com", f"--first-name={value}")


def _users_import(column: str) -> Callable[[Site, Any], bool]:
    def door(site: Site, value: Any) -> bool:
        from mailctl.users import require_embedded_directory

        address = f"{uuid.uuid4().hex}@example.com"
        row = {"email": address, "first_name": "", column: value}
        path = site.folder / "import.csv"
        _write_csv(path, row)
        if _cli("users", "import", str(path)):
            return True
        return _cli(
            "send",
            "welcome",
            f"--user-id={require_embedded_directory(site.runtime.directory).list_users()[-1].id}",
        )

    return door


def _list(column: str, *, as_json: bool, template: str = "message") -> Callable[[Site, Any], bool]:
    def door(site: Site, value: Any) -> bool:
        row = {"email": TO, "body": "x", column: value}
        path = site.folder / "list"
        if as_json:
            path.write_text(json.dumps(row))
        else:
            _write_csv(path, row)
        campaign = f"--campaign={uuid.uuid4().hex}"
        words = ("--subject=Hello", f"--template={template}")
        return _cli("send", "email", *words, f"--users-file={path}", campaign)

    return door


def _write_csv(path: Any, row: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerow(row)


def _service(call: Callable[[Any], Any]) -> Callable[[Site, Any], bool]:
    def door(site: Site, value: Any) -> bool:
        try:
            site.run(call(value))
        except InvalidInput as error:
            return bool(error.reason)
        return False

    return door


def _generic(**more: Any) -> Any:
    given = {"subject": "Hello", "recipients": [TO], "template_name": "message", "context": {"body": "x"}}
    return EmailService.send_email(**{**given, **more})


def _wire(kind: Any, arguments: Callable[[Any], dict[str, Any]]) -> Callable[[Site, Any], bool]:
    def door(site: Site, value: Any) -> bool:
        seq = site.last_seq()
        # What a message says went through JSON.
        site.receive(kind, json.loads(json.dumps(arguments(value))), task_id=str(uuid.uuid4()))
        [email] = site.since(seq)
        if email.state == "failed":
            assert email.error
            # What the message names as its recipient is kept if it can be printed, and never mailed.
            assert email.to.isascii()
            assert not email.to or email.to.isprintable()
        return email.state == "failed"

    return door


def _message(**more: Any) -> dict[str, Any]:
    given = {"subject": "Hello", "recipients": [{"name": "", "email": TO}], "template_name": "message"}
    return {**given, "context": {"body": "x"}, **more}


def _cli_security(template: str, variable: str, **more: str) -> Callable[[Site, Any], bool]:
    def door(site: Site, value: Any) -> bool:
        settings = [f"--set={name}={each}" for name, each in ({variable: value} | more).items()]
        return _cli("send", "email", f"--email={TO}", "--subject=Hello", f"--template={template}", *settings)

    return door


def _service_security(template: str, context: Callable[[Any], Any]) -> Callable[[Site, Any], bool]:
    return _service(lambda value: _generic(template_name=template, context=context(value)))


def _wire_security(template: str, context: Callable[[Any], Any]) -> Callable[[Site, Any], bool]:
    return _wire(GENERIC, lambda value: _message(template_name=template, context=context(value)))


def _sign_in(**more: Any) -> dict[str, Any]:
    """What the template of a sign-in from a new address needs."""
    given = {"ip_address": "203.0.113.7", "whitelist_url": ORIGIN, "blacklist_url": ORIGIN}
    return {**given, **more}


def _query(column: str) -> Callable[[Site, Any], bool]:
    def door(site: Site, value: Any) -> bool:
        row = {"email": TO, "username": "", "first_name": "", column: value}
        with closing(sqlite3.connect(site.users_database, isolation_level=None)) as database:
            database.execute("DELETE FROM accounts")
            try:
                database.execute("INSERT INTO accounts VALUES (1, :email, :username, :first_name)", row)
            except UnicodeEncodeError:
                return True  # no database holds half a character
        site.runtime.__dict__["directory"] = _directory(site)
        try:
            return _cli("send", "welcome", "--user-id=1")
        finally:
            site.runtime.__dict__.pop("directory").close()

    return door


def _directory(site: Site) -> Any:
    from mailctl.users import ServiceUserDirectory

    query = "SELECT id, email, username, first_name FROM accounts WHERE id = :id"
    return ServiceUserDirectory(f"sqlite+aiosqlite:///{site.users_database}", query=query)


#: By field of the list and name; a door returns whether it said no. What it took is in the log then.
DOORS: dict[str, dict[str, Callable[[Site, Any], bool]]] = {
    "email": {
        "send --email": lambda site, value: _one(value, "--email"),
        "users add": _users_add_email,
        "users import": _users_import("email"),
        "--users-file CSV": _list("email", as_json=False),
        "--users-file JSON lines": _list("email", as_json=True),
        "EmailService user": _service(lambda value: EmailService.send_welcome_email(Person(email=value))),
        "EmailService recipients": _service(lambda value: _generic(recipients=[{"email": value}])),
        "wire user_data": _wire(WELCOME, lambda value: {"user_data": {"email": value}}),
        "wire recipients": _wire(GENERIC, lambda value: _message(recipients=[{"email": value}])),
        "MAILCTL_USERS_QUERY": _query("email"),
    },
    "display_name": {
        "send --name": lambda site, value: _one(value, "--name"),
        "users add": _users_add_name,
        "users import": _users_import("first_name"),
        "--users-file CSV": _list("name", as_json=False),
        "--users-file JSON lines": _list("name", as_json=True),
        "EmailService recipients": _service(
            lambda value: _generic(recipients=[{"email": TO, "name": value}])
        ),
        "wire recipients": _wire(GENERIC, lambda value: _message(recipients=[{"email": TO, "name": value}])),
    },
    "first_name": {
        "send --name": lambda site, value: _one(value, "--name"),
        "users add": _users_add_name,
        "users import": _users_import("first_name"),
        "--users-file CSV": _list("first_name", as_json=False),
        "EmailService user": _service(
            lambda value: EmailService.send_welcome_email(Person(first_name=value))
        ),
        "EmailService username": _service(
            lambda value: EmailService.send_welcome_email(Person(username=value))
        ),
        "wire user_data": _wire(WELCOME, lambda value: {"user_data": {"email": TO, "first_name": value}}),
        "wire recipients": _wire(GENERIC, lambda value: _message(recipients=[{"email": TO, "name": value}])),
        "MAILCTL_USERS_QUERY": _query("first_name"),
    },
    "subject": {
        "send --subject": _subject,
        "send invoice --set": lambda site, value: _cli(
            "send", "invoice", f"--email={TO}", f"--set=number={value}"
        ),
        "EmailService": _service(lambda value: _generic(subject=value)),
        "EmailService own kind": _service(
            lambda value: EmailService.send("invoice", Person(), {"number": value})
        ),
        "wire": _wire(GENERIC, lambda value: _message(subject=value)),
    },
    "action_url": {
        "send --set": lambda site, value: _one(f"action_url={value}", "--set"),
        "--users-file CSV": _list("action_url", as_json=False),
        "--users-file JSON lines": _list("action_url", as_json=True),
        "EmailService context": _service(lambda value: _generic(context={"body": "x", "action_url": value})),
        "wire context": _wire(GENERIC, lambda value: _message(context={"body": "x", "action_url": value})),
        "wire reset_url": _wire(RESET, lambda value: {"user_data": {"email": TO}, "reset_url": value}),
        # The templates of security emails, by the doors of the generic kind.
        "send --template reset": _cli_security("reset", "reset_url"),
        "--users-file CSV, template reset": _list("reset_url", as_json=False, template="reset"),
        "--users-file JSON lines, template verification": _list(
            "verification_url", as_json=True, template="verification"
        ),
        "EmailService template reset": _service_security("reset", lambda value: {"reset_url": value}),
        "EmailService template new-ip": _service_security(
            "new-ip", lambda value: _sign_in(blacklist_url=value)
        ),
        "EmailService template reset, nested": _service_security(
            "reset", lambda value: {"reset_url": ORIGIN, "pages": [{"name": "x", "help_link": value}]}
        ),
        "wire template verification": _wire_security(
            "verification", lambda value: {"verification_url": value}
        ),
        "wire template new-ip": _wire_security("new-ip", lambda value: _sign_in(whitelist_url=value)),
        "wire template message, nested": _wire(
            GENERIC, lambda value: _message(context={"body": "x", "more": {"reset_url": value}})
        ),
    },
    "ip": {
        "send --ip": _ip,
        "EmailService": _service(
            lambda value: EmailService.send_new_ip_notification(Person(), value, "w" * 20, "b" * 20)
        ),
        "wire": _wire(
            NEW_IP,
            lambda value: {
                "user_data": {"email": TO},
                "ip_address": value,
                "whitelist_url": "https://app.example.com/w",
                "blacklist_url": "https://app.example.com/b",
            },
        ),
        "send --template new-ip": _cli_security(
            "new-ip", "ip_address", whitelist_url=ORIGIN, blacklist_url=ORIGIN
        ),
        "EmailService template new-ip": _service_security("new-ip", lambda value: _sign_in(ip_address=value)),
        "wire template new-ip": _wire_security("new-ip", lambda value: _sign_in(ip_address=value)),
        "wire template message, nested": _wire(
            GENERIC, lambda value: _message(context={"body": "x", "sign_ins": [{"ip_address": value}]})
        ),
    },
    "template_name": {
        "send --template": lambda site, value: _send_email(
            f"--email={TO}", f"--template={value}", f"--set=action_url={ORIGIN}"
        ),
        "EmailService": _service(
            lambda value: _generic(template_name=value, context={"body": "x", "action_url": ORIGIN})
        ),
        "wire": _wire(
            GENERIC,
            lambda value: _message(template_name=value, context={"body": "x", "action_url": ORIGIN}),
        ),
    },
    "idempotency_key": {
        "send --idempotency-key": lambda site, value: _one(value, "--idempotency-key"),
        "EmailService": _service(lambda value: _generic(idempotency_key=value)),
    },
    "locale": {
        "send --set": lambda site, value: _one(f"locale={value}", "--set"),
        "--users-file CSV": _list("locale", as_json=False),
        "--users-file JSON lines": _list("locale", as_json=True),
        "EmailService context": _service(lambda value: _generic(context={"body": "x", "locale": value})),
        "wire context": _wire(GENERIC, lambda value: _message(context={"body": "x", "locale": value})),
    },
    "token": {
        "send --token-stdin": _token_stdin,
        "EmailService": _service(lambda value: EmailService.send_password_reset_email(Person(), value)),
    },
}
