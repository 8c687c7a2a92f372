"""A real Postfix with a configuration of its own: it relays, and hands bounces to a command or a mailbox."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from tests.servers.process import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The user as which Postfix runs commands: neither root nor its own.
COMMAND_USER = "nobody"
_SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
{transport}
"""


def missing_for_postfix() -> str:
    """Return what this host lacks for a Postfix of the tests; "" if it has all."""
    if os.geteuid() != 0:
        return "Postfix starts as root alone"
    program = shutil.which("postfix") or shutil.which("/usr/sbin/postfix")
    return "" if program else "there is no Postfix (apt install postfix)"


class Postfix(Server):
    """Postfix that listens on loopback, and relays all mail to one server.

    Args:
        relay_port: the port of that server, on loopback.
        transport: the service `bounces` of master.cf, which takes mail for the domain of bounces.
        domain: that domain.
        mailboxes: the ports of mail servers (LMTP) that have the mailboxes of a domain, by domain.
        settings: parameters of main.cf that replace those of here.
    """

    _stop_signal = signal.SIGTERM

    def __init__(
        self,
        relay_port: int,
        transport: str,
        *,
        domain: str,
        mailboxes: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="postfix-")), port=free_port())
        self._relay_port, self._transport, self._domain = relay_port, transport, domain
        self._mailboxes = mailboxes or {}
        self._settings = settings or {}

    @override
    def _prepare(self) -> None:
        config, queue, data = (self.folder / name for name in ("config", "queue", "data"))
        for folder in (config, queue, data):
            folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        shutil.chown(data, "postfix")
        by_lmtp = "".join(f" {name}=lmtp:inet:127.0.0.1:{port}" for name, port in self._mailboxes.items())
        main = {
            "compatibility_level": "3.6",
            "queue_directory": queue,
            "data_directory": data,
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": "relay.example.org",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "relayhost": f"[127.0.0.1]:{self._relay_port}",
            "transport_maps": f"inline:{{ {self._domain}=bounces:{by_lmtp} }}",
            "relay_domains": " ".join([self._domain, *self._mailboxes]),
            # It has the mailboxes, and reports as a server that does.
            "lmtp_assume_final": "yes",
            "alias_maps": "",
            "alias_database": "",
            "maillog_file": self.folder / "maillog",
            "maillog_file_prefixes": self.folder,
            "smtpd_recipient_restrictions": "permit_mynetworks,reject",
            "notify_classes": "",
            "smtp_tls_security_level": "none",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            "queue_run_delay": "1s",
            "delay_warning_time": "1s",
            **self._settings,
        }
        (config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
        services = _SERVICES.format(port=self.port, transport=self._transport)
        (config / "master.cf").write_text(services)
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(config), "check"], check=False, capture_output=True, timeout=60
        )

    @override
    def _command(self) -> list[str]:
        return ["/usr/sbin/postfix", "-c", str(self.folder / "config"), "start-fg"]

    @override
    def stop(self) -> None:
        """Stop the master, which stops its services."""
        stop = ["/usr/sbin/postfix", "-c", str(self.folder / "config"), "stop"]
        subprocess.run(stop, check=False, capture_output=True, timeout=60)
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @override
    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                return connection.recv(3) == b"220"
        except OSError:
            return False

    @property
    def maillog(self) -> str:
        """What Postfix has logged."""
        path = self.folder / "maillog"
        return path.read_text(errors="replace") if path.exists() else ""
