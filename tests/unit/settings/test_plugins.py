"""Objects of a service that settings name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings.plugins import load_object, summarize_error

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the working directory, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "a_plugin_of_a_shop", raising=False)
    return tmp_path / "a_plugin_of_a_shop.py"


def test_an_object_of_the_working_directory_is_loaded(module: Path) -> None:
    """As `celery -A` does."""
    module.write_text("answer = 42\n")
    assert load_object("a_plugin_of_a_shop:answer", setting="MAILCTL_X") == 42


@pytest.mark.parametrize("spec", ["", ":", "a", "a:", ":b"])
def test_a_value_of_another_form_is_refused(spec: str) -> None:
    """With an example."""
    with pytest.raises(ConfigurationError, match="not MODULE:ATTRIBUTE") as caught:
        load_object(spec, setting="MAILCTL_X")
    assert "shop.celery:app" in caught.value.fix


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "AttributeError"),
        ("raise RuntimeError('no redis://:hunter2@host')", "RuntimeError"),
        ("from urllib.parse import urlsplit\nurlsplit('redis://shop:hunter2/x@host').port", "ValueError"),
        ("import nope_nope", "ModuleNotFoundError"),
        ("(", "SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_reported(module: Path, source: str, problem: str) -> None:
    """With the error of the service's code, but without credentials."""
    module.write_text(source)
    with pytest.raises(ConfigurationError, match=f"MAILCTL_X a_plugin_of_a_shop:x .*{problem}") as caught:
        load_object("a_plugin_of_a_shop:x", setting="MAILCTL_X")
    assert "hunter2" not in caught.value.message
    assert caught.value.__cause__ is not None


def test_an_error_is_summarized_in_one_line() -> None:
    """Without its last full stop, because it is part of a sentence."""
    assert summarize_error(ValueError("bad.\nmore")) == "ValueError: bad."
    assert summarize_error(ValueError("bad.")) == "ValueError: bad"
