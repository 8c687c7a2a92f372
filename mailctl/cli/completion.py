"""What a shell offers for ids, kinds, states, queues and campaigns; where nothing can be known, nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from mailctl.errors import MailctlError
from mailctl.shell_command import is_safe_unquoted
from mailctl.unicode_safety import has_controls

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from mailctl.settings import Settings

_T = TypeVar("_T")
#: Ids that are offered at most.
_MAX_IDS = 30
#: Seconds that somebody who has pressed the tabulator waits.
_TIMEOUT_SECONDS = 1.0


def complete_id(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer the ids that begin like this, or the newest, each with what it is."""

    def look(engine: Engine) -> list[tuple[str, str]]:
        from mailctl.delivery_log.queries.lookups import EmailLookups
        from mailctl.delivery_log.queries.search import EmailFilter, search

        if incomplete:
            found = EmailLookups(engine).find(incomplete, limit=_MAX_IDS)
        else:
            found = list(search(engine, EmailFilter(), limit=_MAX_IDS).emails)
        words = (f"{email.state} {email.kind} to {email.to}" for email in found)
        return [
            (email.id, what) for email, what in zip(found, words, strict=True) if is_safe_unquoted(email.id)
        ]

    return _ask_log(ctx, look)


def complete_kind(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer kinds of email, the service's own too."""
    from mailctl.domain.catalog import BUILT_IN_KINDS
    from mailctl.domain.catalog_loader import catalog_from_settings

    settings, kinds = _settings(ctx), BUILT_IN_KINDS
    with suppress(MailctlError):
        kinds = catalog_from_settings(settings).kinds if settings else BUILT_IN_KINDS
    return [(kind.name, kind.summary) for kind in kinds.values() if kind.name.startswith(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    """Offer states."""
    from mailctl.domain.models import State

    return [state for state in State if state.startswith(incomplete)]


def complete_sort(incomplete: str) -> list[str]:
    """Offer what a list can be ordered by."""
    from mailctl.delivery_log.queries.search import Sort

    return [sort for sort in Sort if sort.startswith(incomplete)]


def complete_queue(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the queues that are known: of the settings, of living workers, and what is paused."""
    from mailctl.settings import BULK_QUEUE

    def look(engine: Engine) -> list[str]:
        from mailctl.delivery_log.heartbeats import WorkerRegistry
        from mailctl.delivery_log.pauses import Pauses, PauseScope

        paused = [pause.name for pause in Pauses(engine).read() if pause.scope is PauseScope.QUEUE]
        return [queue for worker in WorkerRegistry(engine).list_alive() for queue in worker.queues] + paused

    settings = _settings(ctx)
    usual = [settings.celery_queue_default, BULK_QUEUE] if settings else []
    names = dict.fromkeys(usual + _ask_log(ctx, look))
    # What is completed gets no quotes: a name that a shell would act on is left out.
    return [name for name in names if name.startswith(incomplete) and is_safe_unquoted(name)]


def _ask_log(ctx: typer.Context, question: Callable[[Engine], list[_T]]) -> list[_T]:
    """Return the answer of a log that exists."""
    settings = _settings(ctx)
    if settings is None:
        return []
    try:
        from mailctl.deadlines import call_with_deadline
        from mailctl.runtime import open_log_for_reading

        with open_log_for_reading(settings) as engine:
            found = call_with_deadline(
                lambda: question(engine), service="the delivery log", seconds=_TIMEOUT_SECONDS
            )
            return [each for each in found if not _has_controls(each)]
    except MailctlError:
        return []  # a shell has no place to tell it


def _has_controls(offer: object) -> bool:
    """Whether a shell would print control characters to offer this."""
    return any(map(has_controls, offer if isinstance(offer, tuple) else (str(offer),)))


def _settings(ctx: typer.Context) -> Settings | None:
    from mailctl.settings import Settings

    env_file = ctx.find_root().params.get("env_file")
    try:
        return Settings.load(Path(env_file) if env_file else None)
    except MailctlError:
        return None
