"""MAILCTL_SERVERS: more mail servers in a TOML file, and one clear sentence for each mistake in it."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.routing import RoutedEmail
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.smtp.mail_servers import mail_servers_from_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.smtp.mail_servers import MailServers

GOOD = """
[servers.backup]
host = "smtp.backup.example"
tls = "implicit"
user = "shop"
password = "hunter2"
connections = 2
helo_name = "mx.shop.example"
data_timeout_seconds = 90

[servers.bulk]
host = "bulk.example"

[[routes]]
kinds = ["reset", "verification"]
servers = ["default", "backup"]

[[routes]]
queues = ["mailctl.bulk"]
servers = ["bulk"]
"""


def load(folder: Path, text: str) -> MailServers:
    path = folder / "servers.toml"
    path.write_text(text)
    path.chmod(0o600)
    return mail_servers_from_settings(Settings(MAILCTL_SERVERS=path, EMAIL_HOST="smtp.example"))


def test_without_the_setting_there_is_the_default_server() -> None:
    """EMAIL_* describes it."""
    servers = mail_servers_from_settings(Settings(EMAIL_HOST="smtp.example", EMAIL_PORT=25))
    assert servers.labels == ("smtp.example:25",)
    assert servers.smtp_server("default").host == "smtp.example"


def test_servers_have_their_own_address_sign_in_and_limits(tmp_path: Path) -> None:
    """The port follows from the encryption."""
    servers = load(tmp_path, GOOD)
    assert servers.labels == (
        "smtp.example:587",
        "backup (smtp.backup.example:465)",
        "bulk (bulk.example:587)",
    )
    backup = servers.smtp_server("backup")
    assert (backup.username, backup.password, backup.tls) == ("shop", "hunter2", "implicit")
    assert backup.local_hostname == "mx.shop.example"
    assert servers.by_name["backup"].connections == 2
    assert [each.data_timeout_seconds for each in servers.by_name.values()] == [600, 90, 600]
    email = RoutedEmail(kind="reset", queue="celery", recipient="ada@example.com")
    assert servers.routing.order_for(email) == ("default", "backup")


def test_an_email_does_not_wait_long_for_a_server_that_others_follow(tmp_path: Path) -> None:
    """The last one of a route gets all the time of the settings."""
    servers = load(tmp_path, GOOD)
    seconds = [servers.smtp_server(name).connect_timeout_seconds for name in servers.by_name]
    assert seconds == [3.0, None, None]


def test_a_password_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    """As Docker and Kubernetes mount secrets."""
    (tmp_path / "secret").write_text("s3cret\n")
    text = GOOD.replace('password = "hunter2"', f'password_file = "{tmp_path / "secret"}"')
    assert load(tmp_path, text).smtp_server("backup").password == "s3cret"


def test_a_password_shows_nowhere(tmp_path: Path) -> None:
    """Neither in what is loaded nor in an error about its neighbour."""
    assert "hunter2" not in repr(load(tmp_path, GOOD))
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, GOOD.replace('user = "shop"', 'user = ["hunter2"]'))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[servers.bulk]", "[servers.bulk"), "the file is not TOML: there is a mistake at line"),
        (('host = "bulk.example"', ""), "servers.bulk.host must be the name or the IP address"),
        (('host = "bulk.example"', 'host = "smtp://x"'), "servers.bulk.host must be the name"),
        (
            ('host = "bulk.example"', 'hots = "x"\nhost = "x"'),
            "servers.bulk.hots is unknown; use one of:",
        ),
        (("connections = 2", "connections = 0"), "servers.backup.connections must be a whole number from 1"),
        (("connections = 2", "connections = 1.5"), "servers.backup.connections must be a whole number"),
        (("connections = 2", "connections = true"), "servers.backup.connections must be a whole number"),
        (("connections = 2", "port = 70000"), "servers.backup.port must be a whole number from 1 to 65535"),
        (('tls = "implicit"', 'tls = "ssl"'), "servers.backup.tls must be one of starttls, implicit, none"),
        (('user = "shop"', ""), "servers.backup.user is missing; the password belongs to it"),
        (('user = "shop"', 'user = "a\\nb"'), "servers.backup.user must be text of one line"),
        (('user = "shop"', 'password_file = "x"\nuser = "shop"'), "password_file are both given"),
        (("connections = 2", 'auth = "xoauth2"'), "xoauth2 needs either oauth_token or oauth_token_command"),
        (("connections = 2", 'oauth_token = "a:b"'), "servers.backup.auth must be xoauth2"),
        (("[servers.bulk]", "[servers.default]"), "the EMAIL_* settings describe the server `default`"),
        (("[servers.bulk]", '[servers."Bulk mail"]'), "a name has 1 to 32 letters a-z"),
        (('["bulk"]', '["bluk"]'), "routes[2].servers names the unknown server 'bluk'; use one of: default"),
        (('["bulk"]', "[]"), "routes[2].servers must name at least one server"),
        (('["bulk"]', '"bulk"'), "routes[2].servers must be a list of texts"),
        (('["bulk"]', '["bulk", "bulk"]'), "routes[2].servers names something twice"),
        (('["bulk"]', '["default"]'), "servers.bulk is in no route"),
        (('queues = ["mailctl.bulk"]', 'domains = ["a b"]'), "routes[2].domains must be domains such as"),
        (
            ('kinds = ["reset", "verification"]', ""),
            "routes has a route without conditions before other routes",
        ),
        (("[[routes]]", "[[route]]"), "route is unknown; use one of: routes, servers"),
        ((GOOD, "servers = 3"), "servers must be a table, such as [servers.first]"),
    ],
)
def test_each_mistake_is_one_sentence(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """With the setting, the file and the place."""
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, GOOD.replace(*change))
    assert said in raised.value.message
    assert raised.value.message.startswith(f"MAILCTL_SERVERS ({tmp_path / 'servers.toml'}): ")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """And one that is not text."""
    with pytest.raises(ConfigurationError, match="cannot be read: no such file"):
        mail_servers_from_settings(Settings(MAILCTL_SERVERS=tmp_path / "none.toml"))
    (tmp_path / "servers.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        mail_servers_from_settings(Settings(MAILCTL_SERVERS=tmp_path / "servers.toml"))


@pytest.mark.parametrize("name", ["oauth_token_command", '"oa\\u0075th_token_command"'])
def test_a_file_that_others_could_write_runs_no_command(tmp_path: Path, name: str) -> None:
    """A sign-in command in it would be theirs, also if an escape hides its name."""
    text = GOOD.replace('password = "hunter2"', f'auth = "xoauth2"\n{name} = "print-token"')
    assert load(tmp_path, text).by_name["backup"].name == "backup"
    path = tmp_path / "servers.toml"
    path.chmod(0o666)
    with pytest.raises(
        ConfigurationError, match="names code that is run, and every user can write to the file"
    ):
        mail_servers_from_settings(Settings(MAILCTL_SERVERS=path))


@pytest.mark.parametrize(
    ("value", "name", "problem"),
    [
        ('oauth_token = "nowhere:token"', "oauth_token", "nowhere"),
        ('oauth_token = "sys:maxsize"', "oauth_token", "is not a function"),
        ('oauth_token_command = "false"', "oauth_token_command", "exited with code 1"),
    ],
)
def test_a_sign_in_that_fails_is_named_as_in_the_file(
    tmp_path: Path, value: str, name: str, problem: str
) -> None:
    """EMAIL_OAUTH_TOKEN belongs to the default server."""
    text = GOOD.replace('password = "hunter2"', f'auth = "xoauth2"\n{value}')

    def sign_in() -> None:
        tokens = load(tmp_path, text).smtp_server("backup").tokens
        assert tokens is not None
        tokens.token()

    with pytest.raises(ConfigurationError) as raised:
        sign_in()
    said = raised.value.message
    assert said.startswith(f"MAILCTL_SERVERS ({tmp_path / 'servers.toml'}): servers.backup.{name}")
    assert problem in said


def test_a_server_may_be_at_a_unix_socket(tmp_path: Path) -> None:
    """It has no port, and no TLS."""
    text = GOOD.replace('host = "bulk.example"', 'host = "unix:/run/mail.sock"')
    servers = load(tmp_path, text)
    assert servers.labels[2] == "bulk (unix:/run/mail.sock)"
    assert (servers.smtp_server("bulk").tls, servers.by_name["bulk"].dns_host) == ("none", "localhost")
    with pytest.raises(ConfigurationError, match=r"servers\.bulk\.tls must be none for a Unix socket"):
        load(tmp_path, text.replace('sock"', 'sock"\ntls = "implicit"'))


def test_a_unix_socket_of_the_default_server_needs_no_tls() -> None:
    """No certificate could be verified by the name of a host."""
    with pytest.raises(ConfigurationError, match="EMAIL_HOST is a Unix socket, and EMAIL_TLS is starttls"):
        mail_servers_from_settings(Settings(EMAIL_HOST="unix:/run/mail.sock"))
    settings = Settings(EMAIL_HOST="unix:/run/mail.sock", EMAIL_TLS="none", EMAIL_ENABLED=True)
    assert mail_servers_from_settings(settings).labels == (settings.mail_server,) == ("unix:/run/mail.sock",)


BACKUP = {
    "MAILCTL_SERVER_BACKUP_HOST": "smtp.backup.example",
    "MAILCTL_SERVER_BACKUP_TLS": "implicit",
    "MAILCTL_SERVER_BACKUP_USER": "shop",
    "MAILCTL_SERVER_BACKUP_PASSWORD": "hunter2",
    "MAILCTL_SERVER_BACKUP_CONNECTIONS": "2",
    "MAILCTL_SERVER_BACKUP_RATE": "100/s",
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Settings]:
    """Load the settings of variables, in a folder without a `.env` file."""

    def load_them(**variables: str) -> Settings:
        monkeypatch.chdir(tmp_path)
        for name, value in ({"EMAIL_HOST": "smtp.example"} | variables).items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return load_them


def test_variables_describe_servers_as_the_file_does(given: Callable[..., Settings]) -> None:
    """Without routes, every email goes by the default one first, and by the others in the order of names."""
    servers = mail_servers_from_settings(given(**BACKUP, MAILCTL_SERVER_AN_OTHER_HOST="other.example"))
    assert servers.labels == (
        "smtp.example:587",
        "an-other (other.example:587)",
        "backup (smtp.backup.example:465)",
    )
    backup = servers.smtp_server("backup")
    assert (backup.username, backup.password, backup.tls) == ("shop", "hunter2", "implicit")
    assert (servers.by_name["backup"].connections, servers.by_name["backup"].rate) == (2, 100.0)
    email = RoutedEmail(kind="reset", queue="celery", recipient="ada@example.com")
    assert servers.routing.order_for(email) == ("default", "an-other", "backup")


def test_routes_of_the_file_name_servers_of_variables(given: Callable[..., Settings], tmp_path: Path) -> None:
    """The file may come with the program, and the passwords from where it runs."""
    file = tmp_path / "servers.toml"
    file.write_text('[[routes]]\nkinds = ["reset"]\nservers = ["backup"]\n')
    servers = mail_servers_from_settings(given(**BACKUP, MAILCTL_SERVERS=str(file)))
    reset, other = (
        RoutedEmail(kind=kind, queue="celery", recipient="a@example.com") for kind in ("reset", "email")
    )
    assert (servers.routing.order_for(reset), servers.routing.order_for(other)) == (("backup",), ("default",))


def test_a_server_is_described_in_one_place(given: Callable[..., Settings], tmp_path: Path) -> None:
    """Two descriptions may differ."""
    file = tmp_path / "servers.toml"
    file.write_text(GOOD)
    with pytest.raises(ConfigurationError) as raised:
        mail_servers_from_settings(given(**BACKUP, MAILCTL_SERVERS=str(file)))
    assert "The mail server backup is described twice: by MAILCTL_SERVERS (" in raised.value.message
    assert raised.value.message.endswith("servers.backup and by MAILCTL_SERVER_BACKUP_*.")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BACKUP_PORT", "smtp", "BACKUP_PORT (environment) must be a whole number from 1 to 65535"),
        ("BACKUP_CONNECTIONS", "1.5", "BACKUP_CONNECTIONS (environment) must be a whole number from 1 to 64"),
        ("BACKUP_TIMEOUT_SECONDS", "nan", "BACKUP_TIMEOUT_SECONDS (environment) must be a number from 0.1"),
        ("BACKUP_TLS", "ssl", "BACKUP_TLS (environment) must be one of starttls, implicit, none"),
        ("BACKUP_RATE", "fast", "BACKUP_RATE (environment) must be a rate such as 100/s"),
        ("BACKUP_PASSWORD_FILE", "x", "and MAILCTL_SERVER_BACKUP_PASSWORD_FILE are both given; remove one"),
        ("BACKUP_AUTH", "xoauth2", "BACKUP_AUTH (environment) xoauth2 needs either oauth_token or"),
        ("BULK_PORT", "25", "MAILCTL_SERVER_BULK_HOST must be the name or the IP address of a host"),
        ("BACKUP_HOTS", "x", "BACKUP_HOTS (environment): this is not MAILCTL_SERVER_<NAME>_ with one of"),
        ("PORT", "tcp://10.0.0.1:25", "MAILCTL_SERVER_PORT (environment): this is not"),
        ("DEFAULT_HOST", "x", "DEFAULT_HOST (environment) cannot be given: the EMAIL_* settings describe"),
    ],
)
def test_each_mistake_in_a_variable_is_one_sentence(
    given: Callable[..., Settings], variable: str, value: str, said: str
) -> None:
    """With the name of the variable and its source."""
    with pytest.raises(ConfigurationError) as raised:
        mail_servers_from_settings(given(**(BACKUP | {f"MAILCTL_SERVER_{variable}": value})))
    assert said in raised.value.message
    assert "hunter2" not in raised.value.message


def test_a_variable_that_is_in_no_route_is_refused(given: Callable[..., Settings], tmp_path: Path) -> None:
    """As a server of the file is."""
    file = tmp_path / "servers.toml"
    file.write_text('[[routes]]\nservers = ["default"]\n')
    with pytest.raises(ConfigurationError, match=r"MAILCTL_SERVER_BACKUP_\* is in no route"):
        mail_servers_from_settings(given(**BACKUP, MAILCTL_SERVERS=str(file)))


def test_a_file_may_be_json(tmp_path: Path) -> None:
    """With the same content."""
    path = tmp_path / "servers.json"
    path.write_text(json.dumps(tomllib.loads(GOOD)))
    servers = mail_servers_from_settings(Settings(MAILCTL_SERVERS=path, EMAIL_HOST="smtp.example"))
    assert (servers.labels, servers.routing) == (load(tmp_path, GOOD).labels, load(tmp_path, GOOD).routing)
