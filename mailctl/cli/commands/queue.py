"""`mailctl queue`: the commands for queues."""

from __future__ import annotations

from mailctl.cli.commands.queue_control import pause, purge, resume
from mailctl.cli.commands.queue_list import list_queues, peek
from mailctl.cli.commands.queue_restore import restore
from mailctl.cli.lazy_commands import CommandGroup

app = CommandGroup("queue", "List, pause, resume, purge and restore queues (default: list).", default="list")
app.add("list", list_queues)
app.add("peek", peek)
app.add("pause", pause)
app.add("resume", resume)
app.add("purge", purge)
app.add("restore", restore)
