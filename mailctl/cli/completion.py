"""Shell completion of ids, kinds, states, sort orders and queues; completes nothing on any error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from mailctl.domain.shell_command import is_safe_unquoted
from mailctl.domain.unicode_safety import has_controls
from mailctl.errors import MailctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from mailctl.settings import Settings

_T = TypeVar("_T")
#: Maximum number of ids that are offered.
_MAX_IDS = 30
#: How long completion may take, in seconds.
_TIMEOUT_SECONDS = 1.0


def complete_id(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete an id, with the state, kind and address of each email; without a prefix, offer the newest."""

    def find(engine: Engine) -> list[tuple[str, str]]:
        from mailctl.delivery_log.queries.lookups import EmailLookups
        from mailctl.delivery_log.queries.search import EmailFilter, search

        if incomplete:
            found = EmailLookups(engine).find(incomplete, limit=_MAX_IDS)
        else:
            found = list(search(engine, EmailFilter(), limit=_MAX_IDS).emails)
        return [
            (email.id, f"{email.state} {email.kind} to {email.to}")
            for email in found
            if is_safe_unquoted(email.id)
        ]

    return _query_log(ctx, find)


def complete_kind(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete a kind of email, including the service's own."""
    from mailctl.domain.catalog import BUILT_IN_KINDS
    from mailctl.domain.catalog_loader import catalog_from_settings

    settings, kinds = _settings(ctx), BUILT_IN_KINDS
    with suppress(MailctlError):
        kinds = catalog_from_settings(settings).kinds if settings else BUILT_IN_KINDS
    return [(kind.name, kind.summary) for kind in kinds.values() if kind.name.startswith(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    """Complete a state."""
    from mailctl.domain.states import State

    return [state for state in State if state.startswith(incomplete)]


def complete_sort(incomplete: str) -> list[str]:
    """Complete a sort order of `mailctl list`."""
    from mailctl.delivery_log.queries.search import Sort

    return [sort for sort in Sort if sort.startswith(incomplete)]


def complete_dimension(incomplete: str) -> list[str]:
    """Complete a field by which `mailctl stats` groups emails."""
    from mailctl.delivery_log.queries.stat_models import Dimension

    return [dimension for dimension in Dimension if dimension.startswith(incomplete)]


def complete_profile(incomplete: str) -> list[str]:
    """Complete a profile."""
    from mailctl.settings import Profile

    return [profile for profile in Profile if profile.startswith(incomplete)]


def complete_queue(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a queue: those of the settings and of live workers, and the paused ones."""
    from mailctl.settings import BULK_QUEUE

    def find(engine: Engine) -> list[str]:
        from mailctl.delivery_log.heartbeats import WorkerRegistry
        from mailctl.delivery_log.pauses import Pauses, PauseScope

        paused = [pause.name for pause in Pauses(engine).read() if pause.scope is PauseScope.QUEUE]
        return [
            queue for worker in WorkerRegistry(engine).list_alive() for queue in worker.email_queues
        ] + paused

    settings = _settings(ctx)
    configured = [settings.celery_queue_default, BULK_QUEUE] if settings else []
    names = dict.fromkeys(configured + _query_log(ctx, find))
    # A completion is inserted without quotes, so names that need quoting are left out.
    return [name for name in names if name.startswith(incomplete) and is_safe_unquoted(name)]


def complete_campaign(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a campaign."""

    def find(engine: Engine) -> list[str]:
        from mailctl.delivery_log.queries.campaign_stats import campaign_names

        return campaign_names(engine)

    names = _query_log(ctx, find)
    return [name for name in names if name.startswith(incomplete) and is_safe_unquoted(name)]


def _query_log(ctx: typer.Context, query: Callable[[Engine], list[_T]]) -> list[_T]:
    """Return the result of a query of the delivery log; nothing if there is no log or it does not answer."""
    settings = _settings(ctx)
    if settings is None:
        return []
    try:
        from mailctl.delivery_log.opening import open_log_for_reading
        from mailctl.process.deadlines import call_with_deadline

        with open_log_for_reading(settings) as engine:
            found = call_with_deadline(
                lambda: query(engine), service="the delivery log", seconds=_TIMEOUT_SECONDS
            )
            return [each for each in found if not _has_controls(each)]
    except MailctlError:
        return []


def _has_controls(completion: object) -> bool:
    """Whether a completion contains control characters, which the shell would print."""
    return any(map(has_controls, completion if isinstance(completion, tuple) else (str(completion),)))


def _settings(ctx: typer.Context) -> Settings | None:
    from mailctl.settings import Settings

    env_file = ctx.find_root().params.get("env_file")
    try:
        return Settings.load(Path(env_file) if env_file else None)
    except MailctlError:
        return None
