"""One host of the lab: a container with systemd as PID 1, that is booted, reached by ssh and switched off.

What a container cannot show (kernel.* settings, AppArmor, audit, memory limits) the QEMU run shows.
The order of one host's life: an overlay over the image, cgroups of its own, systemd-nspawn, ssh. The
end undoes them in the opposite order, by the process that was started and the paths that were made.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.hosts.exchange import lead_to_it
from tests.hosts.image import ACCOUNT
from tests.hosts.network import Network, host_address, within

BOOT_S, HALT_S = 60.0, 30.0
CGROUPS = Path("/sys/fs/cgroup")


class Host:
    """`name` is the inventory's; `number` its place on the wire, from 1."""

    def __init__(self, name: str, number: int, wire: Network, directory: Path) -> None:
        self.name = name
        self.number = number
        self.address = host_address(number)
        self.root = directory / "root"
        self._wire = wire
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = "off" if self._process is None else f"pid {self._process.pid}"
        return f"<Host {self.name} {self.address} {state}>"

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def make(self, image: Path, public_key: str) -> None:
        """A disk of its own over the image, with the account's key, as a provider hands it over."""
        for part in ("upper", "work", "root"):
            (self._directory / part).mkdir(parents=True)
        layers = f"lowerdir={image},upperdir={self._directory}/upper,workdir={self._directory}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/resolv.conf").unlink(missing_ok=True)
        (self.root / "etc/resolv.conf").touch()  # nobody resolves names here, and says so at once
        lead_to_it(self.root)
        ssh = self.root / "home" / ACCOUNT / ".ssh"
        ssh.mkdir(mode=0o700)
        (ssh / "authorized_keys").write_text(public_key)
        owner = (self.root / "home" / ACCOUNT).stat()
        for path in (ssh, ssh / "authorized_keys"):
            shutil.chown(path, owner.st_uid, owner.st_gid)

    def boot(self) -> None:
        """Switch on, and wait until ssh answers."""
        for path in self._cgroups():
            path.mkdir(exist_ok=True)
        join = " && ".join(f"echo $$ >{path}/cgroup.procs" for path in self._cgroups())
        nspawn = [
            "systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit",
            f"--directory={self.root}", f"--machine={self._wire.namespace(self.number)}",
            f"--hostname={self.name}",
            f"--network-namespace-path=/run/netns/{self._wire.namespace(self.number)}",
            "--resolv-conf=off", "--rlimit=RLIMIT_NOFILE=20000", "--capability=CAP_NET_ADMIN",
            "--console=pipe",
        ]  # fmt: skip
        with (self._directory / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"{join} && exec {shlex.join(nspawn)}"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                # net.* belong to the namespace. Never "yes": kernel.* belong to the whole machine.
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                     "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            )  # fmt: skip
        self._until_ssh_answers()

    def _cgroups(self) -> list[Path]:
        """This host's own in each hierarchy: two nspawns in one would share its /payload."""
        tops = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else [
            CGROUPS / name for name in ("systemd", "unified", "memory", "pids", "cpu", "cpuacct")
        ]  # fmt: skip
        return [top / self._wire.namespace(self.number) for top in tops if top.is_dir()]

    def _until_ssh_answers(self) -> None:
        """sshd's first words are its version: a port that is merely open is not enough."""
        ask = f"exec 3<>/dev/tcp/{self.address}/22; read -t 2 -r word <&3; [[ $word == SSH-2* ]]"
        until = time.monotonic() + BOOT_S
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

    def console(self) -> str:
        log = self._directory / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def host_keys(self) -> list[str]:
        """The public keys that it made at its first boot: the controller checks them."""
        return [
            " ".join(path.read_text().split()[:2])
            for path in sorted((self.root / "etc/ssh").glob("ssh_host_*_key.pub"))
        ]

    def power_off(self) -> None:
        """An orderly end, as by the button."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(HALT_S)
        self.kill()

    def kill(self) -> None:
        """The cable is pulled from the wall: nothing on it gets a last word.

        All that runs in this host's own cgroups ends. (Killing systemd-nspawn alone does not do:
        tried, and the container's PID 1 lived on.)
        """
        until = time.monotonic() + HALT_S
        while pids := self._pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not end: {sorted(pids)} are left")
            time.sleep(0.02)
        if self._process is not None:
            self._process.wait(HALT_S)
            self._process = None
        for path in self._cgroups():
            _remove_cgroup(path)

    def _pids(self) -> set[int]:
        return {
            int(pid)
            for top in self._cgroups()
            for file in top.rglob("cgroup.procs")
            for pid in file.read_text().split()
        }

    def remove(self) -> None:
        """Nothing of it stays: process, cgroups, mount, files."""
        self.kill()
        if self.root.is_mount():
            subprocess.run(["umount", self.root], check=True)
        shutil.rmtree(self._directory, ignore_errors=False)


def _remove_cgroup(path: Path) -> None:
    """From the deepest up; the kernel needs a moment to let go of the last process."""
    until = time.monotonic() + HALT_S
    for inner in [*sorted(path.rglob("*/"), key=lambda found: -len(found.parts)), path]:
        while inner.is_dir():
            try:
                inner.rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
