"""The sites of the fault suite: a worker in a process of its own, its log in SQLite or PostgreSQL."""

from __future__ import annotations

from tests.faults.conftest import certificates, is_long, production, redis, site, smtp_server, terminal

__all__ = ["certificates", "is_long", "production", "redis", "site", "smtp_server", "terminal"]
