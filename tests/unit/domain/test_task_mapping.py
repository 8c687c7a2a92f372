"""The mapping of the service's own tasks: what their arguments say, and what a usable mapping is."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.task_mapping import (
    WIRE_TASKS,
    CallFacts,
    OwnTask,
    call_for_one,
    own_tasks_from_settings,
    read_call,
    recorded_kinds,
)
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings


def settings_for(mapping: object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings whose MAILCTL_TASKS names a mapping."""
    module = ModuleType("shop_mapping")
    module.TASKS = mapping  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_mapping", module)
    return Settings(mailctl_tasks="shop_mapping:TASKS")


def test_the_tasks_of_the_wire_need_no_mapping() -> None:
    """A service with tasks of mailctl's names sets nothing."""
    found = own_tasks_from_settings(Settings())
    assert {task.kind for task in found.values()} == set(BUILT_IN_KINDS)


@pytest.mark.parametrize(
    ("name", "kwargs", "facts"),
    [
        (
            "send_password_reset_email_task",
            {"user_data": {"id": 7, "email": "zoe@example.com"}, "reset_url": "https://shop.example/r"},
            CallFacts(
                addresses=("zoe@example.com",), user_id=7, links={"reset_url": "https://shop.example/r"}
            ),
        ),
        (
            "send_email_task",
            {"recipients": [{"email": "zoe@example.com"}, {"email": "bob@example.com"}]},
            CallFacts(addresses=("zoe@example.com", "bob@example.com")),
        ),
    ],
)
def test_the_arguments_of_the_wire_are_read(name: str, kwargs: dict[str, Any], facts: CallFacts) -> None:
    """Recipients, the user and links, wherever the contract puts them."""
    assert read_call(WIRE_TASKS[name], (), kwargs) == facts


@pytest.mark.parametrize(
    ("paths", "args", "kwargs"),
    [
        (("to",), (), {"to": "zoe@example.com"}),
        (("to",), ("Hello", "zoe@example.com"), {}),
        (("1",), ("Hello", "zoe@example.com"), {}),
        (("to",), ("Hello", ["zoe@example.com", "zoe@example.com"]), {}),
        (("data.to",), (), {"data": {"to": ("zoe@example.com",)}}),
        (("messages.to",), (), {"messages": [{"to": ["zoe@example.com"]}, {"subject": "without"}]}),
        (("messages.0.to",), (), {"messages": [{"to": "zoe@example.com"}, {"to": "bob@example.com"}]}),
        (("to", "cc"), (), {"to": "zoe@example.com", "cc": None}),
    ],
)
def test_a_path_finds_addresses(
    paths: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """By name, by position, in fields and in lists; each address once."""
    task = OwnTask(name="shop.send", kind="email", addresses=paths)
    assert read_call(task, args, kwargs, parameters=("subject", "to")).addresses == ("zoe@example.com",)


@pytest.mark.parametrize("kwargs", [{}, {"to": 5}, {"to": None}, {"to": {"zoe@example.com": 1}}])
def test_arguments_that_say_nothing_name_nobody(kwargs: dict[str, Any]) -> None:
    """The service may pass what it likes."""
    task = OwnTask(name="shop.send", kind="email", addresses=("to", "to.9", "to.x.y"), user_id="id")
    assert read_call(task, (), kwargs) == CallFacts()


def test_the_call_for_one_recipient_has_lost_the_others() -> None:
    """In every list that the paths meet, by name and by position; what is no list stays."""
    task = OwnTask(name="shop.send", kind="email", addresses=("messages.to", "cc"))
    messages = [{"to": ["zoe@example.com", "bob@example.com"], "body": "x"}, {"to": ["bob@example.com"]}]
    args, kwargs = call_for_one(
        task,
        (messages,),
        {"cc": ["zoe@example.com"], "other": 1},
        "zoe@example.com",
        parameters=("messages",),
    )
    assert args == [[{"to": ["zoe@example.com"], "body": "x"}]]
    assert kwargs == {"cc": ["zoe@example.com"], "other": 1}


def test_a_mapping_names_kinds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are known to filters and statistics; a kind that exists is not defined again."""
    mapping = {
        "shop.invoice": {"kind": "invoice", "address": "to", "user_id": "user", "link": ["url"]},
        "shop.reset": {"kind": "reset", "address": 0},
        "shop.any": {},
    }
    settings = settings_for(mapping, monkeypatch)
    tasks = own_tasks_from_settings(settings)
    assert tasks["shop.invoice"] == OwnTask(
        name="shop.invoice", kind="invoice", addresses=("to",), user_id="user", links=("url",)
    )
    assert (tasks["shop.reset"].addresses, tasks["shop.any"].kind) == (("0",), "email")
    assert list(recorded_kinds(settings)) == ["invoice"]


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        (["shop.send"], "not a mapping of task names"),
        ({5: {}}, "not the name of a task"),
        ({"shop.send": "to"}, "not a mapping of fields"),
        ({"shop.send": {"adress": "to"}}, "there is no field adress; use address, kind, link, user_id"),
        ({"shop.send": {"kind": "Invoice!"}}, "its kind must consist of"),
        ({"shop.send": {"address": {"to": 1}}}, "address must be the name of an argument"),
        ({"shop.send": {"link": [""]}}, "link must be the name of an argument"),
    ],
)
def test_an_unusable_mapping_is_explained(
    mapping: object, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the setting, the task and what is wrong."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        own_tasks_from_settings(settings_for(mapping, monkeypatch))
    assert caught.value.message.startswith("MAILCTL_TASKS")
