"""The root file system that every lab host starts from: a bare Debian, built once and kept.

It holds what Debian's installer leaves with "SSH server" ticked, and one account that may become root,
as hosting providers hand machines over. Nothing of ours is in it: `site` has to bring everything.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)
KERNEL = ("e2fsprogs", "initramfs-tools", "kmod", "linux-image-amd64", "udev", "zstd")
"""What a virtual machine needs besides; a container has the kernel of who runs it."""
ACCOUNT = "deploy"

HOOKS = (
    # Two clones with one host key would be one host to whoever checks keys.
    'rm -f "$1"/etc/ssh/ssh_host_*',
    f'chroot "$1" useradd --create-home --shell /bin/bash {ACCOUNT}',
    f'echo "{ACCOUNT} ALL=(ALL) NOPASSWD: ALL" >"$1"/etc/sudoers.d/{ACCOUNT}',
    f'chmod 0440 "$1"/etc/sudoers.d/{ACCOUNT}',
    # A namespace's neighbours cannot be asked whether an address is taken; nothing else sets one up.
    'chroot "$1" systemctl mask systemd-networkd-wait-online.service',
)


def image(cache: Path, *, kernel: bool) -> Path:
    """The root file system's directory, built first where the cache has none of this content.

    A build that was cut short leaves `….building`, which the next one removes. Two runs at the same
    time: the second waits for the first and finds it done.
    """
    packages = (*PACKAGES, *KERNEL) if kernel else PACKAGES
    place = cache / f"{SUITE}-{_key(packages)}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            building = place.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            _build(building, packages)
            building.rename(place)
    return place


def _key(packages: tuple[str, ...]) -> str:
    return hashlib.sha256(repr((SUITE, packages, HOOKS)).encode()).hexdigest()[:12]


def _build(place: Path, packages: tuple[str, ...]) -> None:
    command = [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        *(f"--aptopt={option}" for option in _machine_apt_options()),
        *(f"--customize-hook={hook}" for hook in HOOKS),
        SUITE,
        str(place),
        *_machine_sources(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the lab's image could not be built:\n{done.stderr[-3000:]}")


def _machine_sources() -> list[str]:
    """This machine's own mirrors, where it runs the same Debian; else mmdebstrap's."""
    if platform.freedesktop_os_release().get("VERSION_CODENAME") != SUITE:
        return []
    places = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
    return [str(path) for path in places if path.exists()]


def _machine_apt_options() -> list[str]:
    """How this machine reaches its mirrors: proxies, and whether dates are checked."""
    dump = ["apt-config", "dump", "--no-empty", "--format", '%f "%v";%n', "Acquire"]
    lines = subprocess.run(dump, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.startswith("Acquire::Check-") or "::Proxy" in line]
