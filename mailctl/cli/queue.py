"""`mailctl queue`: what waits in the queues."""

from __future__ import annotations

from mailctl.cli import queue_view
from mailctl.cli.help import Commands

app = Commands("queue", "What waits in the queues.")
app.add("list", queue_view.list_queues)
app.add("peek", queue_view.peek)
