"""Of the host: what it is, what runs on it of ours, how its clock is, what is installed."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec

from ops.clock.agent import clock_file
from ops.clock.ask import ask
from ops.doctor import disk, versions
from ops.doctor.looking import in_thread
from ops.doctor.ports import listening
from ops.evidence.collection import File, Gap, Wish, as_json
from ops.running import Found
from tenancy.clock_file import ClockFile
from tenancy.errors import Unavailable

STATUS = (
    "State",
    "Uid",
    "Gid",
    "VmRSS",
    "VmSwap",
    "VmLck",
    "Threads",
    "FDSize",
    "CapEff",
    "NoNewPrivs",
)
TABLES = (
    "loadavg",
    "uptime",
    "meminfo",
    "mounts",
    "swaps",
    "pressure/cpu",
    "pressure/io",
    "pressure/memory",
)


async def host(wish: Wish) -> AsyncIterator[File | Gap]:
    """The machine: kernel, memory, mounts, disks, listening ports."""
    yield File("host/about.json", as_json(about()), "uname, /etc/os-release")
    for name in TABLES:
        try:
            text = (Path("/proc") / name).read_text()
        except OSError as error:
            yield Gap(f"/proc/{name}", str(error.strerror))
            continue
        yield File(f"host/{name.replace('/', '-')}.txt", text, f"/proc/{name}")
    mounts = await in_thread(disk.look, wish.ground.settings)
    yield File("host/disks.json", as_json([one._asdict() for one in mounts]), "statvfs")
    ports = [{"port": port, "inode": inode, "queue": queue} for port, inode, queue in listening()]
    yield File("host/listeners.json", as_json(ports), "/proc/net/tcp, tcp6")


def about() -> dict[str, Any]:
    """Names and versions; nothing of people."""
    try:
        release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        release = "unknown"
    return {
        "host": platform.node(), "kernel": platform.release(), "machine": platform.machine(),
        "system": release, "cpus": os.cpu_count(), "load": os.getloadavg(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }  # fmt: skip


async def releases(wish: Wish) -> AsyncIterator[File | Gap]:
    """What is installed, and what the settings are: masked, and the whole file's sum."""
    seen = await in_thread(versions.look)
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    ours = {
        **seen._asdict(), "executable": sys.executable, "openssl": ssl.OPENSSL_VERSION,
        "packages": dict(sorted(packages.items())),
    }  # fmt: skip
    yield File("versions.json", as_json(ours), "this installation")
    hsm = wish.ground.settings.hsm
    for name, path in (
        ("portcullis.toml", wish.ground.file),
        ("signer.toml", hsm.signer_config),
        ("enroller.toml", hsm.enroller_config),
        *((f"signer{i}.toml", more.config) for i, more in enumerate(hsm.more_signers, 2)),
    ):
        try:
            data = path.read_bytes()
        except OSError as error:
            yield Gap(f"settings {path}", str(error.strerror))
            continue
        found = path.stat()
        digest = (
            f"sha256 {sha256(data).hexdigest()}, mode {found.st_mode & 0o7777:04o}, uid "
            f"{found.st_uid}"
        )
        changed = datetime.fromtimestamp(found.st_mtime, UTC).isoformat()
        source = f"{path}, before masking: {digest}, changed {changed}"
        yield File(f"settings/{name}", data.decode(errors="backslashreplace"), source)


async def processes(wish: Wish) -> AsyncIterator[File | Gap]:
    """Our processes: since when, how often started again, what the kernel says of each."""
    state = wish.ground.state
    if state is None:
        yield Gap("processes", "nothing of ours runs")
        return
    table = dict(state.processes)
    if state.supervisor is not None:
        table["supervisor"] = state.supervisor
    told = {name: await in_thread(process_facts, one) for name, one in table.items()}
    yield File(
        "processes.json",
        as_json({"ready": state.ready, "urls": state.urls, "processes": told}),
        "state.json or the processes' sockets, /proc",
    )


def process_facts(process: Found) -> dict[str, Any]:
    """What proc(5) says, without environment and memory."""
    root = Path(f"/proc/{process.pid}")
    facts: dict[str, Any] = {
        "pid": process.pid, "restarts": process.restarts, "started_at": process.since,
    }  # fmt: skip
    try:
        facts["command"] = (root / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        lines = (line.partition(":") for line in (root / "status").read_text().splitlines())
        facts["status"] = {name: value.strip() for name, _, value in lines if name in STATUS}
        facts["open_files"] = len(list((root / "fd").iterdir()))
    except OSError as error:
        facts["unread"] = str(error.strerror)
    return facts


async def clock(wish: Wish) -> AsyncIterator[File | Gap]:
    """The clock agent's report and its story, and what chronyd says itself."""
    sense = ClockFile(clock_file(wish.ground.settings.instance.runtime))
    quality = sense.quality()
    said: dict[str, Any] = {"quality": quality, "words": quality.words, "report": sense.report}
    own = wish.ground.settings.clock
    if own is None:
        said["chronyd"] = "the settings have no [clock]"
    else:
        try:
            said["chronyd"] = msgspec.to_builtins(await ask(own.chrony_host, own.chrony_port))
        except Unavailable as error:
            said["chronyd"] = str(error)
    yield File("clock.json", as_json(said), "clock.json of the agent, chronyd")
    if shutil.which("chronyc") is not None:
        yield File("chronyc.txt", await _chronyc(), "chronyc tracking, sources, sourcestats")


async def _chronyc() -> str:
    """What chrony's own program says of its sources. Raises OSError."""
    pages = []
    for words in (("-n", "tracking"), ("-n", "sources", "-v"), ("-n", "sourcestats")):
        child = await asyncio.create_subprocess_exec(
            "chronyc", *words, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await child.communicate()
        except asyncio.CancelledError:
            child.kill()
            raise
        pages.append(f"$ chronyc {' '.join(words)}\n{output.decode(errors='replace')}")
    return "\n".join(pages)
