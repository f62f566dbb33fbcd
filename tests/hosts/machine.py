"""A host that is a virtual machine: QEMU, with KVM where processors have it, and a kernel of its own.

There AppArmor enforces, audit records, `kernel.*` is the host's own, and memory and address limits of units are
real. Pulling its cable from the wall loses what its kernel had not flushed. Slower than a container, and without
KVM ten times as slow.

Its disk is made of what a container's would be (host.py), its network set up as providers do, by systemd-networkd.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.hosts.host import Host
from tests.hosts.network import CONTROLLER, PREFIX, within

DISK = "20G"
"""As the machine sees it; the file is as large as what was written."""
MEMORY_MB, PROCESSORS = 4096, 2
KILLED_S = 30.0
TRANSLATED = 10.0
"""How many times as long all takes where QEMU translates each instruction (TCG)."""
INTERFACE = "eth0"
NETWORK = """\
[Match]
Name={interface}

[Network]
Address={address}/{prefix}
Gateway={gateway}
"""


def has_kvm() -> bool:
    """Whether the processors say so: /dev/kvm alone may be there and boot nothing (seen)."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return os.access("/dev/kvm", os.W_OK) and not flags.isdisjoint({"vmx", "svm"})


class Machine(Host):
    """See the module."""

    interface = INTERFACE
    boot_s = 300.0
    patience = 1.0 if has_kvm() else TRANSLATED

    def make(self, image: Path, public_key: str) -> None:
        super().make(image, public_key)
        (self._root / "etc/systemd/network/20-wire.network").write_text(
            NETWORK.format(
                interface=INTERFACE, address=self.address, prefix=PREFIX, gateway=CONTROLLER
            )
        )
        wants = self._root / "etc/systemd/system/multi-user.target.wants"
        (wants / "systemd-networkd.service").symlink_to(
            "/lib/systemd/system/systemd-networkd.service"
        )
        (self._root / "etc/fstab").write_text("/dev/vda / ext4 errors=remount-ro 0 1\n")
        words = ["mke2fs", "-q", "-t", "ext4", "-d", str(self._root), str(self._disk), DISK]
        subprocess.run(words, check=True, capture_output=True)

    def boot(self) -> None:
        kernel, ramdisk = (self._newest(name) for name in ("vmlinuz-*", "initrd.img-*"))
        words = [
            "qemu-system-x86_64", "-accel", "kvm" if has_kvm() else "tcg", "-cpu", "max",
            "-m", str(MEMORY_MB), "-smp", str(PROCESSORS),
            "-nodefaults", "-display", "none", "-serial", "stdio",
            "-kernel", str(kernel), "-initrd", str(ramdisk),
            "-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0",
            "-drive", f"file={self._disk},if=virtio,format=raw",
            "-netdev", f"tap,id=wire,ifname={self._wire.tap(self.number)},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=wire,mac=52:54:00:66:00:{self.number:02x}",
            "-device", "virtio-rng-pci", "-device", "i6300esb",
        ]  # fmt: skip
        with (self._directory / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                within(self._wire.namespace(self.number), *words),
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._until_ssh_answers()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(KILLED_S)
            self._process = None

    @property
    def _disk(self) -> Path:
        return self._directory / "disk"

    def _newest(self, pattern: str) -> Path:
        return sorted((self._root / "boot").glob(pattern))[-1]
