"""A log that grows, is rotated, and is read again after a restart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.feedback.followed_file import FollowedFile, state_file

if TYPE_CHECKING:
    from pathlib import Path


def append(path: Path, text: str) -> None:
    """Write at the end of a log."""
    with path.open("a") as file:
        file.write(text)


def test_lines_come_when_they_are_complete(tmp_path: Path) -> None:
    """From the end of the file, as it is at the first time; half a line waits for its end."""
    log = tmp_path / "mail.log"
    append(log, "old\n")
    followed = FollowedFile(log, state=None, from_start=False)
    append(log, "one\ntw")
    first = list(followed.lines())
    append(log, "o\n")
    second = list(followed.lines())
    followed.close()
    assert (first, second) == (["one"], ["two"])


def read_by_an_earlier_run(folder: Path) -> tuple[Path, Path]:
    """Return a log of one line, which was read, and the file with the place that was saved."""
    log, state = folder / "mail.log", folder / "state.json"
    append(log, "one\n")
    followed = FollowedFile(log, state=state, from_start=True)
    list(followed.lines())
    followed.save(followed.place)
    followed.close()
    return log, state


@pytest.mark.parametrize("way", ["rename", "truncate"])
def test_rotation_loses_no_line(tmp_path: Path, way: str) -> None:
    """The last lines of the renamed file come before those of the new one; an emptied file starts again."""
    log = tmp_path / "mail.log"
    append(log, "one\n")
    followed = FollowedFile(log, state=None, from_start=True)
    before = list(followed.lines())
    if way == "rename":
        append(log, "last\n")
        log.rename(tmp_path / "mail.log.1")
    else:
        log.write_text("")
    append(log, "n\n")
    after = list(followed.lines())
    followed.close()
    assert before == ["one"]
    assert after == (["last", "n"] if way == "rename" else ["n"])


@pytest.mark.parametrize("text", ["2", "2" * 10 + "\nthree"])
def test_a_log_that_was_emptied_and_has_grown_again_is_read_from_its_start(tmp_path: Path, text: str) -> None:
    """Its size does not show it."""
    log = tmp_path / "mail.log"
    append(log, "one\n")
    followed = FollowedFile(log, state=None, from_start=True)
    list(followed.lines())
    log.write_text(f"{text}\n2222\n")
    after = list(followed.lines())
    followed.close()
    assert after == [*text.split("\n"), "2222"]


def test_a_log_that_was_emptied_between_two_runs_is_read_from_its_start(tmp_path: Path) -> None:
    """By the rotation that copies it."""
    log, state = read_by_an_earlier_run(tmp_path)
    log.write_text("two\nthree\n")
    later = FollowedFile(log, state=state, from_start=False)
    assert list(later.lines()) == ["two", "three"]
    later.close()


def test_a_log_that_was_rotated_between_two_runs_is_read_to_its_end(tmp_path: Path) -> None:
    """The lines that came last are in the file that was renamed."""
    log, state = read_by_an_earlier_run(tmp_path)
    append(log, "last\n")
    log.rename(tmp_path / "mail.log.1")
    append(log, "new\n")
    later = FollowedFile(log, state=state, from_start=False)
    assert list(later.lines_before()) == ["one\n"]
    assert list(later.lines()) == ["last", "new"]
    later.close()


def test_a_log_whose_successor_cannot_be_read_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rotation may create it first and hand it to its readers then; it is said once."""
    log = tmp_path / "mail.log"
    append(log, "one\n")
    followed = FollowedFile(log, state=None, from_start=True)
    log.rename(tmp_path / "mail.log.1")
    log.mkdir()
    assert list(followed.lines()) + list(followed.lines()) == ["one"]
    log.rmdir()
    append(log, "two\n")
    assert list(followed.lines()) == ["two"]
    followed.close()
    assert len(caplog.records) == 1


def test_a_long_line_is_one_line(tmp_path: Path) -> None:
    """What follows its beginning is no line that would say something; a later run begins with it."""
    log, state = tmp_path / "mail.log", tmp_path / "state.json"
    append(log, "one\n" + "x" * 70_000)
    followed = FollowedFile(log, state=state, from_start=True)
    assert list(followed.lines()) == ["one"]
    followed.save(followed.place)
    append(log, "x" * 200_000 + "forged\ntwo\n")
    long, two = followed.lines()
    assert (len(long) >= 65_536, two) == (True, "two")
    followed.close()
    later = FollowedFile(log, state=state, from_start=True)
    assert [line[:3] for line in later.lines()] == ["xxx", "two"]
    later.close()


def test_saving_a_place_writes_to_no_other_file(tmp_path: Path) -> None:
    """Somebody may have put a symbolic link where the place is written; a new folder is private."""
    log, other = tmp_path / "mail.log", tmp_path / "other"
    append(log, "one\n")
    append(other, "precious")
    state = state_file(tmp_path / "home", log)
    followed = FollowedFile(log, state=state, from_start=True)
    followed.save(followed.place)
    state.with_suffix(".new").symlink_to(other)
    followed.save(followed.place)
    followed.close()
    assert other.read_text() == "precious"
    assert not state.is_symlink()
    assert state.parent.stat().st_mode & 0o777 == 0o700


def test_a_later_run_goes_on_where_the_place_was_saved(tmp_path: Path) -> None:
    """What came meanwhile is not missed; the lines before say which emails are in the queue."""
    log, state = tmp_path / "mail.log", state_file(tmp_path / "home", tmp_path / "mail.log")
    append(log, "one\n")
    followed = FollowedFile(log, state=state, from_start=True)
    list(followed.lines())
    followed.save(followed.place)
    followed.close()
    append(log, "two\n")

    later = FollowedFile(log, state=state, from_start=False)
    assert list(later.lines_before()) == ["one\n"]
    assert list(later.lines()) == ["two"]
    later.close()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"inode": "x", "offset": 1}'])
def test_a_broken_place_counts_as_none(tmp_path: Path, text: str) -> None:
    """A power failure may leave it so."""
    log, state = tmp_path / "mail.log", tmp_path / "state.json"
    append(log, "one\n")
    state.write_text(text)
    followed = FollowedFile(log, state=state, from_start=True)
    assert list(followed.lines()) == ["one"]
    followed.close()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One sentence, before anything is read."""
    with pytest.raises(InvalidInput, match="cannot be read"):
        FollowedFile(tmp_path / "none.log", state=None, from_start=True)


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    """Opening it would wait for its other end."""
    os.mkfifo(tmp_path / "mail.log")
    with pytest.raises(InvalidInput, match="is a pipe"):
        FollowedFile(tmp_path / "mail.log", state=None, from_start=True)


def test_a_place_that_cannot_be_saved_is_told(tmp_path: Path) -> None:
    """With the setting that decides about it."""
    log = tmp_path / "mail.log"
    append(log, "one\n")
    followed = FollowedFile(log, state=log / "state.json", from_start=True)
    with pytest.raises(ConfigurationError, match="cannot be saved"):
        followed.save(followed.place)
    followed.close()
