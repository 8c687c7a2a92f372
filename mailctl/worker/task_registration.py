"""Registers mailctl's tasks in every Celery app; a task that the service defines itself takes precedence.

Celery's `shared_task` cannot do this: Celery keeps the first task of a name, so the order of imports would
decide, or chance if both are shared tasks.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from celery import current_app
from celery._state import _get_active_apps, connect_on_app_finalize
from celery.local import Proxy, maybe_evaluate

from mailctl.celery_app import is_built_in_app, is_service_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery, Task

#: The attribute that marks the method of an app that replaces tasks of mailctl.
_REPLACING_ATTRIBUTE = "mailctl_replaces"


def register_in_every_app(function: Callable[..., Any], *, name: str, **options: Any) -> Task:
    """Register a function as a task of every app of this process, now or when the app is finalized.

    mailctl's own app gets it whatever tasks the service shares; another app only if it has no such task.

    Args:
        function: the function.
        name: the name of the task.
        options: attributes of the task, as for Celery's decorator.

    Returns:
        A proxy for the task of this name in the current app.
    """

    def register(app: Celery) -> None:
        _register(app, function, name=name, **options)

    connect_on_app_finalize(register)
    for app in _get_active_apps():
        if app.finalized:
            with app._finalize_mutex:
                register(app)
    return Proxy(lambda: current_app.tasks[name])


def _register(app: Celery, function: Callable[..., Any], *, name: str, **options: Any) -> None:
    _let_service_replace_tasks(app)
    # Celery 5.7 warns of two tasks with the same name, but here that is intended.
    warned: set[str] = getattr(app, "_duplicate_task_names_warned", set())
    warned.add(name)
    if is_built_in_app(app) and is_service_task(app, name):
        del app._tasks[name]  # shared by the service, which has another app
    if name not in app._tasks:
        app._task_from_fun(function, name=name, **options)


def _let_service_replace_tasks(app: Celery) -> None:
    """Let tasks that an app declared before, or defines later, replace mailctl's.

    `app.register_task` replaces a task of the same name in any case.
    """
    define = app._task_from_fun
    if hasattr(define, _REPLACING_ATTRIBUTE):
        return
    # Each would call the method that is replaced below, and find the name taken.
    for declared in list(app._pending):
        maybe_evaluate(declared)

    @wraps(define)
    def define_or_replace(function: Callable[..., Any], name: str | None = None, **options: Any) -> Task:
        name = name or app.gen_task_name(function.__name__, function.__module__)
        if name in app._tasks and not is_service_task(app, name) and not is_built_in_app(app):
            del app._tasks[name]
        return define(function, name=name, **options)

    setattr(define_or_replace, _REPLACING_ATTRIBUTE, True)
    app._task_from_fun = define_or_replace
