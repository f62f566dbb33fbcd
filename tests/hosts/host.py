"""One host of the lab, whatever it is made of: its disk over the image, its keys, and ssh that answers.

Two kinds: a container (container.py), which boots in a second, and a virtual machine (machine.py), which has a
kernel of its own. The rest of the lab asks for neither.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from tests.hosts.exchange import lead_to_it
from tests.hosts.image import ACCOUNT
from tests.hosts.network import Network, host_address, within


class Host(ABC):
    """`name` is the inventory's; `number` its place on the wire, from 1."""

    interface: str
    boot_s = 60.0
    """Until ssh answers, at most."""
    patience = 1.0
    """How many times as long as a container's all else may take."""

    def __init__(self, name: str, number: int, wire: Network, directory: Path) -> None:
        self.name = name
        self.number = number
        self.address = host_address(number)
        self._root = directory / "root"
        self._wire = wire
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = "off" if self._process is None else f"pid {self._process.pid}"
        return f"<{type(self).__name__} {self.name} {self.address} {state}>"

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def make(self, image: Path, public_key: str) -> None:
        """A disk of its own over the image, with the account's key, as a provider hands it over."""
        for part in ("upper", "work", "root"):
            (self._directory / part).mkdir(parents=True)
        layers = f"lowerdir={image},upperdir={self._directory}/upper,workdir={self._directory}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self._root], check=True)
        (self._root / "etc/hostname").write_text(f"{self.name}\n")
        (self._root / "etc/resolv.conf").unlink(missing_ok=True)
        (self._root / "etc/resolv.conf").touch()  # nobody resolves names here, and says so at once
        lead_to_it(self._root)
        subprocess.run(["ssh-keygen", "-A", "-f", self._root], check=True, capture_output=True)
        ssh = self._root / "home" / ACCOUNT / ".ssh"
        ssh.mkdir(mode=0o700)
        (ssh / "authorized_keys").write_text(public_key)
        owner = (self._root / "home" / ACCOUNT).stat()
        for path in (ssh, ssh / "authorized_keys"):
            shutil.chown(path, owner.st_uid, owner.st_gid)

    @abstractmethod
    def boot(self) -> None:
        """Switch on, and wait until ssh answers."""

    @abstractmethod
    def kill(self) -> None:
        """The cable is pulled from the wall: nothing on it gets a last word."""

    def console(self) -> str:
        log = self._directory / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def host_keys(self) -> list[str]:
        """Its public keys: the controller checks them."""
        return [
            " ".join(path.read_text().split()[:2])
            for path in sorted((self._root / "etc/ssh").glob("ssh_host_*_key.pub"))
        ]

    def remove(self) -> None:
        """Nothing of it stays: process, mount, files."""
        self.kill()
        if self._root.is_mount():
            subprocess.run(["umount", self._root], check=True)
        shutil.rmtree(self._directory, ignore_errors=False)

    def _until_ssh_answers(self) -> None:
        """sshd's first words are its version: a port that is merely open is not enough."""
        ask = f"exec 3<>/dev/tcp/{self.address}/22; read -t 2 -r word <&3; [[ $word == SSH-2* ]]"
        until = time.monotonic() + self.boot_s
        while subprocess.run(
            within(self._wire.wire, "bash", "-c", ask), stderr=subprocess.DEVNULL, check=False
        ).returncode:
            if (
                self._process is None
                or self._process.poll() is not None
                or time.monotonic() > until
            ):
                raise RuntimeError(f"{self.name} does not answer by ssh:\n{self.console()[-3000:]}")
            time.sleep(0.1)
