"""`mailctl queue`: the commands about queues."""

from __future__ import annotations

from mailctl.cli.commands.queue_control import pause, purge, resume
from mailctl.cli.commands.queue_list import list_queues, peek
from mailctl.cli.commands.queue_restore import restore
from mailctl.cli.lazy_commands import CommandGroup

app = CommandGroup("queue", "What waits in the queues; stop, start and empty them.")
app.add("list", list_queues)
app.add("peek", peek)
app.add("pause", pause)
app.add("resume", resume)
app.add("purge", purge)
app.add("restore", restore)
