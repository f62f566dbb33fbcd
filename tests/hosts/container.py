"""A host that is a container with systemd as PID 1: it shares the machine's kernel.

What that cannot show (kernel.* settings, AppArmor, audit, memory limits) a virtual machine does. The order of its
life: an overlay over the image, cgroups of its own, systemd-nspawn, ssh. The end undoes them in the opposite
order, by the process that was started and the paths that were made.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from tests.hosts.host import Host
from tests.hosts.network import HOST_END

END_S = 30.0
CGROUPS = Path("/sys/fs/cgroup")


class Container(Host):
    """See the module."""

    interface = HOST_END

    def boot(self) -> None:
        for path in self._cgroups():
            path.mkdir(exist_ok=True)
        join = " && ".join(f"echo $$ >{path}/cgroup.procs" for path in self._cgroups())
        nspawn = [
            "systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit",
            f"--directory={self._root}", f"--machine={self._wire.namespace(self.number)}",
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
                     "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
                     # Its own /tmp, mounted as its settings say, also after a second boot.
                     "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},
            )  # fmt: skip
        self._until_ssh_answers()

    def _cgroups(self) -> list[Path]:
        """This host's own in each hierarchy: two nspawns in one would share its /payload."""
        tops = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else [
            CGROUPS / name for name in ("systemd", "unified", "memory", "pids", "cpu", "cpuacct")
        ]  # fmt: skip
        return [top / self._wire.namespace(self.number) for top in tops if top.is_dir()]

    def kill(self) -> None:
        """All that runs in this host's own cgroups ends. (Killing systemd-nspawn alone does not do:
        tried, and the container's PID 1 lived on.)
        """
        until = time.monotonic() + END_S
        while pids := self._pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not end: {sorted(pids)} are left")
            time.sleep(0.02)
        if self._process is not None:
            self._process.wait(END_S)
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


def _remove_cgroup(path: Path) -> None:
    """From the deepest up; the kernel needs a moment to let go of the last process."""
    until = time.monotonic() + END_S
    for inner in [*sorted(path.rglob("*/"), key=lambda found: -len(found.parts)), path]:
        while inner.is_dir():
            try:
                inner.rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
