"""Mounts that only the processes of a test see."""

from __future__ import annotations

import shutil
import subprocess

#: Runs a command where it may mount what nobody else sees.
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
#: Whether this system allows that.
MAY_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run(
        [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    ).returncode
    == 0
)
