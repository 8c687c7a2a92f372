"""A first `.env` file."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError, InvalidInput, Refused
from mailctl.operations.new_settings import NewSettings, write_env_file
from mailctl.settings.secret_keys import check_keys

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = r"""a 'b' "c" #d $HOME \e=f"""


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """With a key that production accepts, and quotes where they are needed; only its user may read it."""
    path = tmp_path / ".env"
    answers = NewSettings(
        from_address="noreply@shop.example",
        project_name="Ada's Shop & Söhne",
        email_host="mail.example",
        email_user="app",
        email_password=PASSWORD,
        is_production=True,
        redis_url="redis://:p%40ss@redis.example/0",
        database_url="postgresql://app:p%40ss@db.example/shop?sslmode=require",
    )
    settings = write_env_file(path, answers.values(), overwrite=False).settings
    assert settings.email_host_password.get_secret_value() == PASSWORD
    assert (settings.project_name, settings.email_host, settings.debug) == (
        *("Ada's Shop & Söhne", "mail.example"),
        False,
    )
    assert settings.broker_url == "redis://:p%40ss@redis.example/0"
    assert settings.log_url.startswith("postgresql://app:p%40ss@db.example/")
    check_keys(settings.secret_keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_key_is_a_new_one() -> None:
    """Two hosts of different services share none."""
    answers = NewSettings(from_address="a@b.example")
    assert answers.values()["SECRET_KEY"] != answers.values()["SECRET_KEY"]
    assert answers.values()["EMAIL_ENABLED"] == "False"


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    """Unless it is to be replaced."""
    path = tmp_path / ".env"
    path.write_text("PROJECT_NAME=Old\n")
    values = NewSettings(from_address="a@b.example").values()
    with pytest.raises(Refused, match="exists; nothing was changed"):
        write_env_file(path, values, overwrite=False)
    assert path.read_text() == "PROJECT_NAME=Old\n"
    written = write_env_file(path, values, overwrite=True)
    assert (written.settings.project_name, written.earlier) == ("Example", tmp_path / ".env.old")


def test_a_replaced_file_is_kept_each_time(tmp_path: Path) -> None:
    """Emails may be encrypted with any of the keys; whoever may read the new one alone may read them."""
    path = tmp_path / ".env"
    path.write_text("PROJECT_NAME=Old\n")
    values = NewSettings(from_address="a@b.example").values()
    names = [write_env_file(path, values, overwrite=True).earlier for _ in range(2)]
    assert names == [tmp_path / ".env.old", tmp_path / ".env.old2"]
    assert (tmp_path / ".env.old").read_text() == "PROJECT_NAME=Old\n"
    assert stat.S_IMODE((tmp_path / ".env.old").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"from_address": "nobody"}, InvalidInput),
        ({"from_address": "a@b.example", "project_name": "two\nlines"}, InvalidInput),
        ({"from_address": "a@b.example", "email_host": "https://mail"}, ConfigurationError),
    ],
)
def test_an_invalid_answer_writes_nothing(
    tmp_path: Path, answers: dict[str, str], error: type[Exception]
) -> None:
    """A file that cannot be read would be worse than none."""
    path = tmp_path / ".env"
    with pytest.raises(error):
        write_env_file(path, NewSettings(**answers).values(), overwrite=False)
    assert not path.exists()


def test_what_is_wrong_with_an_address_comes_with_an_example(tmp_path: Path) -> None:
    """Such as one of a database that mailctl does not support."""
    values = NewSettings(from_address="a@b.example", database_url="mysql://db/shop").values()
    with pytest.raises(ConfigurationError) as raised:
        write_env_file(tmp_path / ".env", values, overwrite=False)
    assert "postgresql://" in str(raised.value.fix)
    assert not (tmp_path / ".env").exists()
