"""Shell completion without a delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl.cli import completion

if TYPE_CHECKING:
    from pathlib import Path


class Context:
    """The context of a call without options."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    def find_root(self) -> Context:
        """It is the root."""
        return self


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_choices_are_completed_by_their_beginning() -> None:
    """States, sort orders and kinds."""
    assert completion.complete_state("can") == ["cancelled"]
    assert completion.complete_sort("u") == ["updated"]
    context: Any = Context()
    assert [name for name, _ in completion.complete_kind(context, "ver")] == ["verification"]


def test_without_a_log_there_are_no_ids_and_only_configured_queues(tmp_path: Path) -> None:
    """And none is created."""
    context: Any = Context()
    assert completion.complete_id(context, "") == []
    assert completion.complete_queue(context, "mail") == ["mailctl.bulk"]
    assert list(tmp_path.iterdir()) == []


def test_invalid_settings_complete_nothing(tmp_path: Path) -> None:
    """A shell has no place to print an error."""
    (tmp_path / "bad.env").write_text("EMAIL_PORT=many\n")
    context: Any = Context(env_file="bad.env")
    assert completion.complete_queue(context, "") == []
    assert completion.complete_id(context, "") == []
    assert completion.complete_kind(context, "welcome") != []


@pytest.mark.parametrize("offer", ["a\nb", ("e1", "sent to \x1b[2J")])
def test_control_characters_are_not_offered(offer: object) -> None:
    """A shell would print them."""
    assert completion._has_controls(offer)
    assert not completion._has_controls(("e1", "sent to zoe@example.com"))
