"""The table of known replies of mail servers and providers: whose fault each is (`known_replies.toml`).

This is the only place that reads the wording of a reply.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mailctl.domain.outcomes import ReplyCategory

if TYPE_CHECKING:
    from mailctl.domain.outcomes import SmtpReply

_FILE = "known_replies.toml"


@dataclass(frozen=True, kw_only=True)
class KnownReply:
    """A reply that is public, with what it is about."""

    #: The program or provider that says it.
    provider: str
    stage: str
    #: The reply as it comes over the wire; its lines are separated by line feeds.
    text: str
    category: ReplyCategory
    #: The address at which it is documented or was reported.
    source: str
    #: Whether it holds for the domain of the recipient, not for the mail server.
    is_about_domain: bool = False

    @property
    def code(self) -> int:
        """The reply code."""
        return int(self.text[:3])

    @property
    def lines(self) -> str:
        """The text after the reply code, as the session reads it."""
        return "\n".join(line[4:] for line in self.text.splitlines())


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A rule of the table; a condition that is None or empty always holds."""

    category: ReplyCategory
    stages: frozenset[str]
    codes: frozenset[int]
    status: re.Pattern[str] | None
    wording: re.Pattern[str] | None
    is_about_domain: bool

    def fits(self, reply: SmtpReply, stage: str) -> bool:
        if self.stages and stage and stage not in self.stages:
            return False
        if self.codes and reply.code not in self.codes:
            return False
        if self.status and not self.status.fullmatch(reply.enhanced or ""):
            return False
        return self.wording is None or bool(self.wording.search(reply.text))


def find_category(reply: SmtpReply, *, stage: str) -> ReplyCategory | None:
    """Return what a negative reply is about by the table; None if the table leaves that open.

    Args:
        reply: the reply, as it came or as the delivery log has it.
        stage: the SMTP stage at which it came; "" if that is not known.
    """
    rule = _find_rule(reply, stage)
    return None if rule is None else rule.category


def is_about_domain(reply: SmtpReply, *, stage: str) -> bool:
    """Whether a negative reply holds for the domain of the recipient, not for the mail server."""
    rule = _find_rule(reply, stage)
    return rule is not None and rule.is_about_domain


def find_protocol(greeting: str) -> str | None:
    """Return the protocol of a server that greets like this, if it is not SMTP; None if it is not known."""
    return next((name for name, wording in _greetings() if wording.search(greeting)), None)


def known_replies() -> list[KnownReply]:
    """Return every reply of the table with its source, in the order of the rules."""
    sources = _table()["sources"]
    return [
        KnownReply(
            provider=provider,
            stage=stage,
            text=text,
            category=ReplyCategory(rule["cause"]),
            source=sources.get(source, source),
            is_about_domain=_is_about_domain(rule),
        )
        for rule in _table()["rule"]
        for provider, stage, text, source in rule["replies"]
    ]


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("mailctl.smtp").joinpath(_FILE).read_text(encoding="utf-8"))


def _find_rule(reply: SmtpReply, stage: str) -> _Rule | None:
    return next((rule for rule in _rules() if rule.fits(reply, stage)), None)


def _is_about_domain(rule: dict[str, Any]) -> bool:
    return bool(rule.get("about") == "domain")


@cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            category=ReplyCategory(rule["cause"]),
            stages=frozenset(rule.get("stages", ())),
            codes=frozenset(rule.get("codes", ())),
            status=re.compile(rule["status"]) if "status" in rule else None,
            wording=_any_of(rule["wording"]) if "wording" in rule else None,
            is_about_domain=_is_about_domain(rule),
        )
        for rule in _table()["rule"]
    )


@cache
def _greetings() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((each["protocol"], re.compile(each["wording"])) for each in _table()["greeting"])


def _any_of(wordings: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in wordings), re.IGNORECASE)
