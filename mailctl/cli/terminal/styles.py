"""Colours of the words that have one, such as states."""

from __future__ import annotations

COLORS = {
    "sent": "green",
    "captured": "green",
    "delivered": "green",
    "bounced": "bold red",
    "complained": "red",
    "ok": "green",
    "deferred": "yellow",
    "held": "yellow",
    "unconfirmed": "yellow",
    "warn": "yellow",
    "failed": "bold red",
    "fail": "bold red",
    "expired": "red",
    "cancelled": "dim",
    "suppressed": "dim",
    "skip": "dim",
    "sending": "cyan",
    "queued": "blue",
    "pending": "blue",
}
