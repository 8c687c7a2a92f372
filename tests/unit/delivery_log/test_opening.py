"""Opening of a delivery log: what each access mode does where there is a log, and where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from mailctl.delivery_log.opening import is_stand_in, open_delivery_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine import create_log, reading, writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.errors import LogMissing, LogUnavailable
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def settings_of(home: Path) -> Settings:
    """Return settings with a home, and nothing from the environment."""
    return Settings(_env_file=None, mailctl_home=home)


@pytest.mark.parametrize("mode", [AccessMode.UPDATE, AccessMode.READ])
def test_a_missing_log_is_named(tmp_path: Path, mode: AccessMode) -> None:
    """By modes that create none; no file is left behind."""
    with pytest.raises(LogMissing, match="There is no delivery log"):
        open_delivery_log(settings_of(tmp_path / "home"), mode)
    assert not (tmp_path / "home").exists()


def test_an_optional_log_is_empty_where_there_is_none(tmp_path: Path) -> None:
    """It can be read, and not be written."""
    engine = open_delivery_log(settings_of(tmp_path / "home"), AccessMode.OPTIONAL)
    assert is_stand_in(engine)
    with reading(engine) as connection:
        assert connection.execute(select(emails.c.id)).all() == []
    engine.dispose()


def test_the_first_write_creates_a_log(tmp_path: Path) -> None:
    """Not the first read."""
    engine = open_delivery_log(settings_of(tmp_path / "home"), AccessMode.ON_WRITE)
    with reading(engine) as connection:
        assert connection.execute(select(emails.c.id)).all() == []
    assert not (tmp_path / "home").exists()
    create_log(engine)
    assert (tmp_path / "home" / "mailctl.db").exists()
    engine.dispose()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """The log that it opens was created before."""
    open_delivery_log(settings_of(tmp_path / "home"), AccessMode.CREATE).dispose()
    engine = open_delivery_log(settings_of(tmp_path / "home"), AccessMode.READ)
    with pytest.raises(LogUnavailable), writing(engine) as connection:
        connection.execute(emails.delete())
    engine.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
@pytest.mark.parametrize("is_there", [False, True])
def test_a_log_that_another_user_leads_elsewhere_is_refused(tmp_path: Path, is_there: bool) -> None:
    """Nothing is created or written where the link leads to; a log that was open until then is left, too."""
    settings = Settings(mailctl_home=tmp_path / "home")
    target, log = tmp_path / "elsewhere.db", tmp_path / "home" / "mailctl.db"
    log.parent.mkdir()
    log.symlink_to(target)
    if is_there:
        open_delivery_log(settings, AccessMode.CREATE).dispose()
    before = target.read_bytes() if is_there else None
    os.lchown(log, 65534, 65534)
    with pytest.raises(LogUnavailable, match="it is a symbolic link that belongs to another user"):
        open_delivery_log(settings, AccessMode.CREATE)
    assert (target.read_bytes() if is_there else None) == before
    assert target.exists() == is_there
