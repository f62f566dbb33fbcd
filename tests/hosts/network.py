"""The lab's wire: one network namespace with a bridge, one for each host, one for clients.

The wire is also where the controller runs. It leads nowhere else: hosts are installed from a bundle alone, and
what a role would fetch from elsewhere fails. Nothing of the machine's own network is touched. Names carry the
run's own word, so that two runs do not meet.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

CONTROLLER = "10.66.0.1"
CLIENT = "10.66.0.200"
VIP = "10.66.0.100"
HOST_END, TAP = "host0", "tap0"
PREFIX = 24


def host_address(number: int) -> str:
    return f"10.66.0.{10 + number}"


class Network:
    """Hosts are numbered from 1; number 0 is the client's end."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.wire = f"portcullis-{run}"

    def namespace(self, number: int) -> str:
        return f"{self.wire}-{number}"

    @property
    def client(self) -> str:
        return self.namespace(0)

    def cut(self, number: int) -> None:
        """Pull the host's cable."""
        _ip("-n", self.wire, "link", "set", f"port{number}", "down")

    def mend(self, number: int) -> None:
        _ip("-n", self.wire, "link", "set", f"port{number}", "up")

    def tap(self, number: int) -> str:
        """Hand the host's end on to a virtual machine, which has the address itself; what it is to open there."""
        name = self.namespace(number)
        if not _has(name, TAP):
            _ip("-n", name, "address", "flush", "dev", HOST_END)
            _ip("-n", name, "link", "add", "bridge0", "type", "bridge")
            _ip("-n", name, "tuntap", "add", TAP, "mode", "tap")
            for end in (HOST_END, TAP):
                _ip("-n", name, "link", "set", end, "master", "bridge0", "up")
            _ip("-n", name, "link", "set", "bridge0", "up")
        return TAP

    def __repr__(self) -> str:
        return f"<Network {self.wire}>"


def within(namespace: str, *command: str) -> list[str]:
    """The command as it runs in that namespace. (`ip netns exec` would remount /sys: nspawn fails then.)"""
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


@contextmanager
def network(run: str, hosts: int) -> Iterator[Network]:
    """The wire with that many hosts' ends and a client's; what was made is removed, whatever happens."""
    made = Network(run)
    with ExitStack() as undo:
        _namespace(undo, made.wire)
        _ip("-n", made.wire, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", made.wire, "addr", "add", f"{CONTROLLER}/{PREFIX}", "dev", "bridge0")
        _ip("-n", made.wire, "link", "set", "bridge0", "up")
        _plug_in(undo, made, 0, CLIENT)
        for number in range(1, hosts + 1):
            _plug_in(undo, made, number, host_address(number))
        yield made


def _plug_in(undo: ExitStack, made: Network, number: int, address: str) -> None:
    name = made.namespace(number)
    _namespace(undo, name)
    _ip("link", "add", f"port{number}", "netns", made.wire,
        "type", "veth", "peer", "name", HOST_END, "netns", name)  # fmt: skip
    _ip("-n", made.wire, "link", "set", f"port{number}", "master", "bridge0", "up")
    _ip("-n", name, "addr", "add", f"{address}/{PREFIX}", "dev", HOST_END)
    _ip("-n", name, "link", "set", HOST_END, "up")
    _ip("-n", name, "route", "add", "default", "via", CONTROLLER)


def _namespace(undo: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    undo.callback(_ip, "netns", "delete", name)
    _ip("-n", name, "link", "set", "lo", "up")


def _has(namespace: str, device: str) -> bool:
    words = ["ip", "-n", namespace, "link", "show", device]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
