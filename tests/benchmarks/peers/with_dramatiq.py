"""Dramatiq on Redis: two processes of 16 threads, each with a session that stays open."""

from __future__ import annotations

import os
import smtplib
import sys
import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

from tests.benchmarks.peers.email import make_message, smtp_port

#: Counts what has been sent.
DONE = "dramatiq-done"

_url = os.environ["PEERS_REDIS"]
dramatiq.set_broker(RedisBroker(url=_url))
_redis = Redis.from_url(_url)
_local = threading.local()


@dramatiq.actor(queue_name="emails")
def send(address: str) -> None:
    """Send one email over a session that stays open."""
    if not hasattr(_local, "session"):
        _local.session = smtplib.SMTP("127.0.0.1", smtp_port())
    _local.session.send_message(make_message(address))
    _redis.incr(DONE)


if __name__ == "__main__":
    for number in range(int(sys.argv[2])):
        send.send(f"user{number}@example.com")
