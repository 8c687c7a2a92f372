"""Reads the logs of Postfix and Exim: what became of an email after the MTA took it, by its queue id.

A line about a delivery names a queue id; an earlier one says which Message-ID that queue id stands for. A
content filter gives the message a new queue id, which is followed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.providers.payload import printable, time_from_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

#: Message-IDs of mailctl; all other emails of the MTA are passed over.
_OWN_MESSAGE_ID = re.compile(r"[0-9a-f]{32}@[A-Za-z0-9.-]{1,253}")
#: Queue ids that are remembered; the oldest are forgotten.
_MAX_QUEUED = 100_000
#: The maximum length of a line in characters: MTAs truncate longer ones.
MAX_LINE = 8_192
_MAX_DIAGNOSTIC = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """An entry of a log about the delivery of one email to one recipient."""

    kind: FeedbackKind
    #: The queue ids of the message in this MTA, the first one first.
    queue_ids: tuple[str, ...]
    #: Without angle brackets.
    message_id: str
    recipient: str
    #: As the line writes it; tells repetitions of the same line from new events.
    timestamp: str
    diagnostic: str
    enhanced_code: str | None = None
    remote_server: str | None = None

    @property
    def at(self) -> datetime | None:
        """When it happened; None if the log writes times without their time zone."""
        return time_from_iso(self.timestamp)


@dataclass(frozen=True, slots=True)
class _Message:
    """A message in the queue of the MTA."""

    queue_ids: tuple[str, ...]
    message_id: str


class MtaLog(ABC):
    """Reads the lines of a log in their order.

    Args:
        max_queued: how many queue ids are remembered at most.
    """

    def __init__(self, *, max_queued: int = _MAX_QUEUED) -> None:
        self._max_queued = max_queued
        self._queue: OrderedDict[str, _Message] = OrderedDict()

    def read(self, line: str) -> list[LogEntry]:
        """Return what a line says of emails of mailctl; nothing for most lines, whatever is in them."""
        return list(self._read(line)) if len(line) <= MAX_LINE else []

    @abstractmethod
    def _read(self, line: str) -> Iterator[LogEntry]: ...

    def _remember(self, queue_id: str, message_id: str, *, before: tuple[str, ...] = ()) -> None:
        if _OWN_MESSAGE_ID.fullmatch(message_id) and queue_id not in self._queue:
            self._queue[queue_id] = _Message((*before, queue_id), message_id)
            if len(self._queue) > self._max_queued:
                self._forget(next(iter(self._queue)))

    def _forget(self, queue_id: str) -> None:
        self._queue.pop(queue_id, None)

    def _entry(
        self,
        kind: FeedbackKind,
        message: _Message,
        *,
        recipient: str,
        timestamp: str,
        diagnostic: str,
        enhanced_code: str | None = None,
        remote_server: str | None = None,
    ) -> LogEntry:
        return LogEntry(
            kind=kind,
            queue_ids=message.queue_ids,
            message_id=message.message_id,
            recipient=recipient,
            timestamp=timestamp,
            diagnostic=printable(diagnostic, longest=_MAX_DIAGNOSTIC),
            enhanced_code=enhanced_code,
            remote_server=remote_server,
        )


_POSTFIX_LINE = re.compile(
    r"(?P<timestamp>\S+|\w{3} [ \d]\d [\d:]{8}) (?:\S+ )?[\w./-]*/(?P<daemon>[\w-]+)\[\d+\]: "
    r"(?P<queue_id>[0-9A-Za-z]{6,20}): (?P<rest>.*)"
)
_POSTFIX_DELIVERY = re.compile(
    r"to=<(?P<to>[^>]*)>,(?: orig_to=<(?P<orig_to>[^>]*)>,)? relay=(?P<relay>[^,]*),.*?"
    r"(?:dsn=(?P<dsn>[245]\.\d{1,3}\.\d{1,3}), )?status=(?P<status>\w+) \((?P<text>.*)\)\s*"
)
_POSTFIX_KINDS = {
    "sent": FeedbackKind.DELIVERED,
    "bounced": FeedbackKind.BOUNCED,
    "deferred": FeedbackKind.DELAYED,
}
_EXPIRED = "status=expired, returned to sender"
_NEXT_QUEUE_ID = re.compile(r"queued as (?P<next>[0-9A-Za-z]{6,20})\b")
_LOCAL_RELAY = re.compile(r"(?:localhost|127\.[\d.]+|\[?::1\]?)(?:\[(?:127\.|::1)[^\]]*\])?(?::\d+)?")


class PostfixLog(MtaLog):
    """The log of Postfix, with the traditional timestamp of syslog or with one in ISO 8601."""

    def __init__(self, *, max_queued: int = _MAX_QUEUED) -> None:
        super().__init__(max_queued=max_queued)
        #: By queue id: what the last attempts failed by, by recipient. It is the reason when they expire.
        self._deferred: dict[str, dict[str, LogEntry]] = {}
        #: The queue ids before one that has not been introduced yet; the log of the filter may be elsewhere.
        self._successors: dict[str, tuple[str, ...]] = {}

    @override
    def _forget(self, queue_id: str) -> None:
        super()._forget(queue_id)
        self._deferred.pop(queue_id, None)

    @override
    def _read(self, line: str) -> Iterator[LogEntry]:
        found = _POSTFIX_LINE.match(line)
        if found is None:
            return
        queue_id, rest = found["queue_id"], found["rest"]
        if found["daemon"] == "cleanup":
            self._read_message_id(queue_id, rest)
        elif queue_id in self._queue:
            yield from self._read_delivery(self._queue[queue_id], found)

    def _read_message_id(self, queue_id: str, rest: str) -> None:
        if rest.startswith("message-id="):
            message_id = rest.removeprefix("message-id=").strip().removeprefix("<").removesuffix(">")
            self._remember(queue_id, message_id, before=self._successors.pop(queue_id, ()))

    def _read_delivery(self, message: _Message, line: re.Match[str]) -> Iterator[LogEntry]:
        queue_id, rest, timestamp = line["queue_id"], line["rest"], line["timestamp"]
        if rest.startswith("removed"):
            self._forget(queue_id)
        elif _EXPIRED in rest:
            yield from self._read_expiry(queue_id, timestamp)
        elif (found := _POSTFIX_DELIVERY.match(rest)) and found["status"] in _POSTFIX_KINDS:
            entry = self._delivery(message, found, timestamp)
            is_lmtp = line["daemon"] == "lmtp"
            if entry.kind is FeedbackKind.DELIVERED and self._is_passed_on(message, found, is_lmtp=is_lmtp):
                return
            if entry.kind is FeedbackKind.DELAYED:
                self._deferred.setdefault(queue_id, {})[entry.recipient] = entry
            yield entry

    def _delivery(self, message: _Message, found: re.Match[str], timestamp: str) -> LogEntry:
        relay = found["relay"].partition("[")[0]
        return self._entry(
            _POSTFIX_KINDS[found["status"]],
            message,
            recipient=found["orig_to"] or found["to"],
            timestamp=timestamp,
            diagnostic=found["text"],
            enhanced_code=found["dsn"],
            remote_server=relay if relay != "none" else None,
        )

    def _is_passed_on(self, message: _Message, found: re.Match[str], *, is_lmtp: bool) -> bool:
        """Whether a local program took the message, such as a content filter, that processes it further.

        A program that takes it by LMTP and does not queue it again has put it into a mailbox.
        """
        if not _LOCAL_RELAY.fullmatch(found["relay"]):
            return False
        following = _NEXT_QUEUE_ID.search(found["text"])
        if following and following["next"] in self._queue:
            self._queue[following["next"]] = _Message(
                (*message.queue_ids, following["next"]), message.message_id
            )
        elif following:
            self._successors[following["next"]] = message.queue_ids
            if len(self._successors) > self._max_queued:
                del self._successors[next(iter(self._successors))]
        return bool(following) or not is_lmtp

    def _read_expiry(self, queue_id: str, timestamp: str) -> Iterator[LogEntry]:
        message = self._queue[queue_id]
        for last in self._deferred.pop(queue_id, {}).values():
            yield self._entry(
                FeedbackKind.BOUNCED,
                message,
                recipient=last.recipient,
                timestamp=timestamp,
                diagnostic=last.diagnostic,
                enhanced_code=last.enhanced_code,
                remote_server=last.remote_server,
            )


_EXIM_LINE = re.compile(
    r"(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})?) (?:\[\d+\] )?"
    r"(?P<queue_id>[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}) (?P<rest>.*)"
)
_EXIM_KINDS = {
    "=>": FeedbackKind.DELIVERED,
    "->": FeedbackKind.DELIVERED,
    ">>": FeedbackKind.DELIVERED,
    "**": FeedbackKind.BOUNCED,
    "==": FeedbackKind.DELAYED,
}
_EXIM_MESSAGE_ID = re.compile(r" id=(\S+)")
_EXIM_ADDRESS = re.compile(r"(?P<address>\S+)(?: <(?P<original>[^>]*)>)?:? ")
_EXIM_HOST = re.compile(r" H=(?P<host>\S+)")
_EXIM_REPLY = re.compile(r' C="(?P<reply>[^"]*)"')
#: Where the text of an error begins: after the transport and the host.
_EXIM_ERROR = re.compile(r": (?P<text>.*)")


class EximLog(MtaLog):
    """The main log of Exim."""

    @override
    def _read(self, line: str) -> Iterator[LogEntry]:
        found = _EXIM_LINE.match(line)
        if found is None:
            return
        queue_id, (mark, _, rest) = found["queue_id"], found["rest"].partition(" ")
        if mark == "<=":
            if message_id := _EXIM_MESSAGE_ID.search(f" {rest}"):
                self._remember(queue_id, message_id[1])
        elif queue_id not in self._queue:
            return
        elif mark == "Completed":
            self._forget(queue_id)
        elif mark in _EXIM_KINDS and (address := _EXIM_ADDRESS.match(f"{rest} ")):
            yield self._delivery(_EXIM_KINDS[mark], self._queue[queue_id], address, rest, found["timestamp"])

    def _delivery(
        self, kind: FeedbackKind, message: _Message, address: re.Match[str], rest: str, timestamp: str
    ) -> LogEntry:
        host, reply, error = _EXIM_HOST.search(rest), _EXIM_REPLY.search(rest), _EXIM_ERROR.search(rest)
        text = reply["reply"] if reply else error["text"] if error else ""
        return self._entry(
            kind,
            message,
            recipient=address["original"] or address["address"].rstrip(":"),
            timestamp=timestamp.replace(" ", "T", 1).replace(" ", ""),
            diagnostic=text,
            remote_server=host["host"] if host else None,
        )


LOGS: Mapping[str, Callable[[], MtaLog]] = {"postfix": PostfixLog, "exim": EximLog}


def format_of(line: str) -> str | None:
    """Return whose log a line is from, by its form; None if it is neither."""
    if _EXIM_LINE.match(line):
        return "exim"
    return "postfix" if _POSTFIX_LINE.match(line) else None
