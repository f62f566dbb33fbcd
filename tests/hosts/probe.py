"""Tries what a process of the product must not reach, and prints what came of each as one JSON object.

Run by a host's own Python, standard library alone, from inside a unit's sandbox (test_sandbox.py), and by root
outside of any, to see that each attempt can succeed. `python probe.py NEIGHBOUR`: another host's address.

What is tried changes nothing: files are opened and not written, system calls get arguments that are wrong.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REACHED = "reached"
WITHIN_S = 3.0
RUNTIME = "/run/portcullis"
READ = (
    "/etc/shadow",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/portcullis/pki/postgresql/certificate.pem.key",
    "/etc/portcullis/credentials/sign.pin",
    "/var/lib/portcullis/hsm",
    "/var/lib/postgresql",
    "/var/lib/etcd",
    "/var/lib/redis",
    "/var/log/journal",
    "/root",
    "/proc/1/environ",
)
WRITE = (
    "/etc/portcullis/portcullis.toml",
    "/opt/portcullis/current/bin/portcullis",
    "/usr/bin/env",
    "/var/lib/portcullis/audit",
    "/etc/cron.d",
)
EXECUTE = ("/bin/sh", "/usr/bin/env", "/usr/bin/curl")
CLONE_NEWUSER = 0x10000000
CALLS = {  # number on x86-64, arguments
    "ptrace": (101, 0, 0, 0, 0),
    "chroot": (161, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "unshare": (272, CLONE_NEWUSER),
    "setns": (308, -1, 0),
}


def connect(address: str, port: int) -> None:
    socket.create_connection((address, port), WITHIN_S).close()


def send_packet(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (address, 53))


def open_raw() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def read(path: str) -> None:
    if Path(path).is_dir():
        os.listdir(path)
    else:
        with open(path, "rb") as file:
            file.read(1)


def write(path: str) -> None:
    if Path(path).is_dir():
        handle, name = tempfile.mkstemp(dir=path)
        os.close(handle)
        os.unlink(name)
    else:
        os.close(os.open(path, os.O_WRONLY))


def execute(path: str) -> None:
    subprocess.run([path, "--version"], capture_output=True, check=False, timeout=WITHIN_S)


def execute_what_was_written() -> None:
    """The one place that every process may write."""
    with tempfile.NamedTemporaryFile(dir=RUNTIME, delete=False) as file:
        file.write(Path("/bin/true").read_bytes())
    try:
        os.chmod(file.name, 0o700)
        execute(file.name)
    finally:
        os.unlink(file.name)


def make_setuid() -> None:
    with tempfile.NamedTemporaryFile(dir=RUNTIME) as file:
        os.chmod(file.name, 0o4700)
        if not os.stat(file.name).st_mode & stat.S_ISUID:
            raise PermissionError


def write_and_execute_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def call(number: int, *arguments: int) -> None:
    """A child does it, for some of these would hold for the whole process."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        refused = libc.syscall(number, *arguments) == -1 and ctypes.get_errno() == errno.EPERM
        os._exit(1 if refused else 0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise PermissionError


def signal_another() -> None:
    os.kill(1, 0)


def attempts(neighbour: str) -> dict[str, Callable[[], None]]:
    tried: dict[str, Callable[[], None]] = {
        "network: another host": lambda: connect(neighbour, 2379),
        "network: a port of this host": lambda: connect("127.0.0.1", 2379),
        "network: a packet": lambda: send_packet(neighbour),
        "network: raw": open_raw,
        "execute: what was written": execute_what_was_written,
        "make: setuid": make_setuid,
        "memory: written and executed": write_and_execute_memory,
        "signal: another's process": signal_another,
    }
    tried |= {f"read: {path}": lambda path=path: read(path) for path in READ}
    tried |= {f"write: {path}": lambda path=path: write(path) for path in WRITE}
    tried |= {f"execute: {path}": lambda path=path: execute(path) for path in EXECUTE}
    tried |= {f"call: {name}": lambda words=words: call(*words) for name, words in CALLS.items()}
    return tried


def main(neighbour: str) -> None:
    found = {}
    for name, attempt in attempts(neighbour).items():
        try:
            attempt()
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            found[name] = type(error).__name__
        else:
            found[name] = REACHED
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
