"""`mailctl queue`: the commands about queues."""

from __future__ import annotations

from mailctl.cli.help import Commands
from mailctl.cli.queue_control import pause, purge, resume

app = Commands("queue", "Stop, start and empty queues.")
app.add("pause", pause)
app.add("resume", resume)
app.add("purge", purge)
