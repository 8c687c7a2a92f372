"""Settings are read from the environment and `.env`, under the web service's names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from kombu.utils.url import parse_url

from mailctl.errors import ConfigurationError, ExitCode
from mailctl.settings import Profile, Settings

if TYPE_CHECKING:
    from pathlib import Path


#: Settings that are numbers.
NUMBERS = [name.upper() for name, field in Settings.model_fields.items() if field.annotation in (int, float)]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory, and an environment without settings."""
    for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


class TestSources:
    def test_the_environment_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Under the names that the web service uses."""
        monkeypatch.setenv("EMAIL_HOST", "mail.example.com")
        settings = Settings.load()
        assert settings.email_host == "mail.example.com"
        assert settings.source_of("EMAIL_HOST") == "environment"

    def test_the_env_file_of_the_working_directory_is_read(self, tmp_path: Path) -> None:
        """Without being asked for, if it is there."""
        write(tmp_path / ".env", "EMAIL_HOST=mail.example.com\n")
        settings = Settings.load()
        assert settings.email_host == "mail.example.com"
        assert settings.source_of("EMAIL_HOST") == ".env"

    def test_a_named_env_file_replaces_the_default_one(self, tmp_path: Path) -> None:
        """`--env-file` selects the only file."""
        write(tmp_path / ".env", "EMAIL_HOST=wrong.example.com\nEMAIL_PORT=26\n")
        path = write(tmp_path / "other.env", "EMAIL_HOST=mail.example.com\n")
        settings = Settings.load(path)
        assert (settings.email_host, settings.email_port) == ("mail.example.com", 587)
        assert settings.source_of("EMAIL_HOST") == str(path)

    def test_the_environment_takes_precedence(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """As with every program that reads a `.env` file."""
        write(tmp_path / ".env", "EMAIL_HOST=file.example.com\nEMAIL_PORT=26\n")
        monkeypatch.setenv("EMAIL_HOST", "environment.example.com")
        settings = Settings.load()
        assert (settings.email_host, settings.email_port) == ("environment.example.com", 26)
        assert settings.source_of("EMAIL_PORT") == ".env"

    def test_there_are_defaults(self) -> None:
        """Development needs no settings."""
        settings = Settings.load()
        assert settings.debug
        assert settings.source_of("DEBUG") == "default"
        assert (settings.email_enabled, settings.email_port, settings.email_tls) == (False, 587, "starttls")
        assert (settings.celery_task_time_limit, settings.celery_result_expires) == (1800, 3600)
        assert settings.celery_queue_default == "celery"

    def test_names_are_case_sensitive(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """`email_host` may belong to another program."""
        monkeypatch.setenv("email_host", "wrong.example.com")
        write(tmp_path / ".env", "Email_Port=26\n")
        settings = Settings.load()
        assert (settings.email_host, settings.email_port) == ("localhost", 587)

    def test_unknown_names_are_ignored(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The file is the web service's too, which has more settings."""
        monkeypatch.setenv("SOMETHING_ELSE", "1")
        write(tmp_path / ".env", "CORS_ORIGINS=*\nMAILCTL_NO_SUCH_SETTING=1\n")
        assert Settings.load().debug

    @pytest.mark.parametrize("name", sorted(field.upper() for field in Settings.model_fields))
    def test_an_empty_value_means_not_set(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Such as `REDIS_PASSWORD=` in a file."""
        monkeypatch.setenv(name, "")
        field = name.lower()
        assert getattr(Settings.load(), field) == Settings.model_fields[field].get_default()

    def test_quotes_comments_and_export_are_understood(self, tmp_path: Path) -> None:
        """As python-dotenv reads the file for the web service."""
        write(
            tmp_path / ".env",
            "# a comment\nexport EMAIL_HOST='mail.example.com' # trailing\n"
            'PROJECT_NAME="My Service"\n\nDEBUG=False\n',
        )
        settings = Settings.load()
        assert (settings.email_host, settings.project_name) == ("mail.example.com", "My Service")
        assert not settings.debug

    @pytest.mark.parametrize(
        ("content", "line", "reason"),
        [
            ('DEBUG=True\nSECRET_KEY="abc\nEMAIL_HOST=x\n', 2, "the quote before the value is not closed"),
            ("# a\n\n\nSECRET_KEY='abc\nEMAIL_HOST='x'\n", 4, "the quote before the value is not closed"),
            ('\nPROJECT_NAME="Shop\nDEBUG=0\nEMAIL_HOST="\n', 2, "the quote before the value is not closed"),
            ("export DEBUG = 'False", 1, "the quote before the value is not closed"),
            ("DEBUG='False' x\n", 1, "there is text after the closing quote"),
            ("PROJECT_NAME=Bob's\nnonsense here\n", 2, "this is not NAME=value"),
        ],
    )
    def test_an_invalid_line_is_named(self, tmp_path: Path, content: str, line: int, reason: str) -> None:
        """A quote that is not closed would include the next settings."""
        write(tmp_path / ".env", content)
        with pytest.raises(ConfigurationError, match=rf"^\.env, line {line}: {reason}"):
            Settings.load()

    def test_a_value_may_have_several_lines(self, tmp_path: Path) -> None:
        """Such as a query, or a key of the service's; only settings of ours are looked for in it."""
        write(tmp_path / ".env", 'KEY="-----\nABC=\n-----"\nMAILCTL_USERS_QUERY="SELECT 1\nWHERE id=:id"\n')
        assert Settings.load().mailctl_users_query == "SELECT 1\nWHERE id=:id"

    def test_a_byte_order_mark_is_ignored(self, tmp_path: Path) -> None:
        """Editors on Windows write one."""
        write(tmp_path / ".env", "\ufeffEMAIL_HOST=mail.example.com\n")
        assert Settings.load().email_host == "mail.example.com"

    def test_a_dollar_sign_has_no_meaning(self, tmp_path: Path) -> None:
        """Passwords contain it."""
        write(tmp_path / ".env", "EMAIL_HOST_PASSWORD=pa$$word${HOME}\n")
        assert Settings.load().email_host_password.get_secret_value() == "pa$$word${HOME}"


class TestProblems:
    def test_a_named_file_must_exist(self, tmp_path: Path) -> None:
        """Only the default `.env` may be missing."""
        with pytest.raises(ConfigurationError, match=r"missing\.env does not exist") as caught:
            Settings.load(tmp_path / "missing.env")
        assert caught.value.exit_code is ExitCode.USAGE

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        """With the reason of the system."""
        (tmp_path / "folder").mkdir()
        with pytest.raises(ConfigurationError, match="cannot be read"):
            Settings.load(tmp_path / "folder")

    def test_a_file_must_be_utf_8(self, tmp_path: Path) -> None:
        """Other encodings are refused."""
        (tmp_path / ".env").write_bytes(b"PROJECT_NAME=M\xfcller\n")
        with pytest.raises(ConfigurationError, match="it is not UTF-8 text"):
            Settings.load()

    def test_an_invalid_line_is_named_by_its_number(self, tmp_path: Path) -> None:
        """It is not shown, because it may contain a secret."""
        write(tmp_path / ".env", 'DEBUG=True\nSECRET_KEY="hunter2\n')
        with pytest.raises(ConfigurationError, match="line 2") as caught:
            Settings.load()
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DEBUG", "perhaps"),
            ("EMAIL_PORT", "smtp"),
            ("EMAIL_PORT", "0"),
            ("REDIS_PORT", "65536"),
            ("REDIS_DB", "-1"),
            ("EMAIL_TLS", "STARTTLS?"),
            ("MAILCTL_MESSAGES", "some"),
            ("MAILCTL_LEASE_SECONDS", "1"),
            ("MAILCTL_SMTP_CONNECTIONS", "1000"),
            *((name, "9" * 20) for name in NUMBERS),
            *((name, "1e309") for name in NUMBERS),
            *((name, "nan") for name in NUMBERS),
            ("REDIS_PASSWORD", "\udcff"),
            ("MAILCTL_HOME", "a\udcffb"),
        ],
    )
    def test_an_invalid_value_is_named_with_its_source(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """The setting, its source and what is wrong."""
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=rf"^{name} \(environment\): ") as caught:
            Settings.load()
        assert "pydantic" not in str(caught.value)

    def test_all_problems_are_reported_at_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """So that they can be corrected together."""
        monkeypatch.setenv("EMAIL_PORT", "x")
        write(tmp_path / ".env", "REDIS_PORT=y\n")
        with pytest.raises(ConfigurationError, match=r"REDIS_PORT \(\.env\): .*EMAIL_PORT \(environment\): "):
            Settings.load()


class TestSecrets:
    SECRETS = (
        "SECRET_KEY",
        "MAILCTL_SECRET_KEYS_OLD",
        "EMAIL_HOST_PASSWORD",
        "REDIS_PASSWORD",
        "REDIS_URL",
        "CELERY_BROKER_URL",
        "CELERY_RESULT_BACKEND",
        "DATABASE_URL",
        "MAILCTL_DATABASE_URL",
    )

    @pytest.mark.parametrize("name", SECRETS)
    def test_a_secret_is_not_shown(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Neither in the representation nor in a dump."""
        scheme = "postgresql" if "DATABASE" in name else "redis"
        monkeypatch.setenv(name, f"{scheme}://user:hunter2@host/0")
        settings = Settings.load()
        assert "hunter2" not in repr(settings)
        assert "hunter2" not in str(settings)
        assert "hunter2" not in settings.model_dump_json()

    def test_an_error_never_shows_a_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret may be in the wrong setting."""
        monkeypatch.setenv("EMAIL_PORT", "hunter2")
        monkeypatch.setenv("EMAIL_TLS", "hunter2")
        with pytest.raises(ConfigurationError) as caught:
            Settings.load()
        assert "hunter2" not in f"{caught.value} {caught.value.fix} {caught.value!r}"

    def test_settings_are_frozen(self) -> None:
        """They are passed down as one value."""
        with pytest.raises(ValueError, match="frozen"):
            Settings.load().debug = False

    @pytest.mark.parametrize("name", ["REDIS_HOST", "EMAIL_HOST"])
    @pytest.mark.parametrize("value", ["redis://:hunter2@h", "h:6379", "h/0", "user@h", "a b", "::1]"])
    def test_a_host_is_a_name_or_an_address(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """A URL is refused, and not quoted."""
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=rf"^{name} \(environment\): must be the name") as caught:
            Settings.load()
        assert "hunter2" not in f"{caught.value} {caught.value.fix}"

    @pytest.mark.parametrize("value", ["localhost", "redis_1", "a.b.example.", "127.0.0.1", "2001:db8::1"])
    def test_every_form_of_a_host_is_accepted(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        """Also names of containers."""
        monkeypatch.setenv("REDIS_HOST", value)
        assert Settings.load().redis_host == value

    def test_the_present_key_comes_before_earlier_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The keyring encrypts with the first."""
        monkeypatch.setenv("SECRET_KEY", "new")
        monkeypatch.setenv("MAILCTL_SECRET_KEYS_OLD", "old\n\nolder")
        assert Settings.load().secret_keys == ["new", "old", "older"]


class TestProfiles:
    def test_development_needs_no_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the settings for Redis."""
        monkeypatch.setenv("REDIS_HOST", "redis.example.com")
        monkeypatch.setenv("REDIS_URL", "redis://redis.example.com:6379/1")
        settings = Settings.load()
        assert settings.profile is Profile.DEVELOPMENT
        assert (settings.broker_url, settings.result_backend) == ("memory://", "cache+memory://")

    def test_production_uses_redis_for_broker_and_results(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the parts of its address."""
        for name, value in {"DEBUG": "False", "REDIS_HOST": "redis.example.com", "REDIS_DB": "2"}.items():
            monkeypatch.setenv(name, value)
        settings = Settings.load()
        assert settings.profile is Profile.PRODUCTION
        assert settings.broker_url == settings.result_backend == "redis://redis.example.com:6379/2"

    @pytest.mark.parametrize("password", ["p@ss/w:rd?#[]", "%41", "päss wörd", "+"])
    def test_any_password_reaches_redis(self, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
        """It is encoded in the URL, and Celery decodes it."""
        monkeypatch.setenv("DEBUG", "False")
        monkeypatch.setenv("REDIS_PASSWORD", password)
        address = Settings.load().broker_url
        parsed = parse_url(address)
        assert (parsed["hostname"], parsed["port"], parsed["password"]) == ("localhost", 6379, password)
        assert urlsplit(address).path == "/0"

    @pytest.mark.parametrize("password", ["", "s:cret"])
    def test_redis_has_users(self, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
        """Their name is encoded as the password is."""
        monkeypatch.setenv("DEBUG", "False")
        monkeypatch.setenv("REDIS_USERNAME", "shop@mail")
        monkeypatch.setenv("REDIS_PASSWORD", password)
        parsed = parse_url(Settings.load().broker_url)
        assert (parsed["userid"], parsed["password"] or "") == ("shop@mail", password)

    def test_a_redis_host_may_be_an_ipv6_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The URL has it in brackets."""
        monkeypatch.setenv("DEBUG", "False")
        monkeypatch.setenv("REDIS_HOST", "2001:db8::1")
        parsed = urlsplit(Settings.load().broker_url)
        assert (parsed.hostname, parsed.port) == ("2001:db8::1", 6379)

    def test_redis_url_takes_precedence_over_its_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For both broker and results."""
        for name, value in {
            "DEBUG": "0",
            "REDIS_HOST": "wrong",
            "REDIS_URL": "rediss://right:6380/3",
        }.items():
            monkeypatch.setenv(name, value)
        settings = Settings.load()
        assert (
            settings.broker_url == settings.result_backend == "rediss://right:6380/3?ssl_cert_reqs=required"
        )

    @pytest.mark.parametrize("debug", ["True", "False"])
    def test_the_urls_of_celery_take_precedence(self, monkeypatch: pytest.MonkeyPatch, debug: str) -> None:
        """In both profiles."""
        monkeypatch.setenv("DEBUG", debug)
        monkeypatch.setenv("REDIS_URL", "redis://wrong/0")
        monkeypatch.setenv("CELERY_BROKER_URL", "amqp://broker")
        monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://results/1")
        settings = Settings.load()
        assert (settings.broker_url, settings.result_backend) == ("amqp://broker", "redis://results/1")

    def test_settings_can_be_read_for_the_other_profile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a new value that says where its profile came from."""
        monkeypatch.setenv("DEBUG", "True")
        settings = Settings.load()
        other = settings.for_profile(Profile.PRODUCTION)
        assert (settings.profile, other.profile) == (Profile.DEVELOPMENT, Profile.PRODUCTION)
        assert other.broker_url.startswith("redis://")
        assert other.source_of("DEBUG") == "the requested profile"


class TestTheLog:
    def test_the_log_is_a_file_in_the_home(self, tmp_path: Path) -> None:
        """With an absolute path, so that the working directory may change."""
        assert Settings.load().log_url == f"sqlite:///{tmp_path / '.mailctl' / 'mailctl.db'}"

    def test_the_log_follows_the_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """MAILCTL_HOME moves it."""
        monkeypatch.setenv("MAILCTL_HOME", "/var/lib/mailctl")
        assert Settings.load().log_url == "sqlite:////var/lib/mailctl/mailctl.db"

    def test_the_log_may_be_in_another_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """MAILCTL_DATABASE_URL names it."""
        monkeypatch.setenv("MAILCTL_DATABASE_URL", "postgresql://host/log")
        assert Settings.load().log_url == "postgresql://host/log"


@pytest.mark.parametrize(("name", "expected"), [("", "My Service"), ("The Team", "The Team")])
def test_emails_come_from_the_project_unless_named(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    """EMAIL_FROM_NAME, else PROJECT_NAME."""
    monkeypatch.setenv("PROJECT_NAME", "My Service")
    monkeypatch.setenv("EMAIL_FROM_NAME", name)
    assert Settings.load().sender_name == expected


def test_constructing_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` does."""
    monkeypatch.setenv("EMAIL_HOST", "mail.example.com")
    assert Settings().email_host == "localhost"
