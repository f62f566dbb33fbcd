"""The way from the hosts to the exchange on the client's machine.

An exchange shows a certificate, and the product speaks plain HTTP with nobody but its own host. The simulator has
none: so each host of the lab leads from its loopback to it, by units that a role knows nothing of.
"""

from __future__ import annotations

from pathlib import Path

from tests.hosts.network import CLIENT

PORT = 8180
URL = f"http://127.0.0.1:{PORT}"

SOCKET = f"""\
[Socket]
ListenStream=127.0.0.1:{PORT}
"""
SERVICE = f"""\
[Service]
ExecStart=/lib/systemd/systemd-socket-proxyd {CLIENT}:{PORT}
"""


def lead_to_it(root: Path) -> None:
    """From the host whose disk that is, from its first boot on."""
    units = root / "etc/systemd/system"
    (units / "lab-exchange.socket").write_text(SOCKET)
    (units / "lab-exchange.service").write_text(SERVICE)
    wants = units / "sockets.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lab-exchange.socket").symlink_to("../lab-exchange.socket")
