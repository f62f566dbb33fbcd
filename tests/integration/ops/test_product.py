"""The whole product under its supervisor: up, examined, broken and killed here and there, down, nothing left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from hsm.client import SignerClient
from hsm.errors import SigningRefused
from ops import control
from ops.alerts.expressions import product
from ops.doctor.examination import ground_of
from ops.evidence.archive import check
from ops.evidence.collection import Collected, Wish, collect
from ops.evidence.parts import PARTS
from ops.paths import Places
from ops.probe import get, is_ready
from ops.settings import Settings, read_settings
from ops.state import Process, State, is_alive
from ops.tls import create_dev_certificates
from tests.integration.ops.faults import altered, changed, frozen
from tests.integration.ops.scraped import SHOWN, scraped
from tests.memory import spellings

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def settings(installation: Places) -> Iterator[Settings]:
    control.up(installation.settings)
    running = read_settings(installation.settings)
    yield running
    control.down(running)


def state(settings: Settings) -> State:
    found = control.state_of(settings)
    assert found is not None
    return found


def until(what: Callable[[], bool], limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def well(settings: Settings) -> bool:
    """Is everything there, and does everything that can say so say that it is ready?"""
    now = state(settings)

    async def ask() -> bool:
        return all(await asyncio.gather(*(is_ready(sock) for sock in now.health.values())))

    return len(now.processes) == 10 and asyncio.run(ask())


def cli(installation: Places, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops.cli.main", "--settings", str(installation.settings)]
    return subprocess.run([*command, *words], capture_output=True, text=True, cwd=ROOT, check=False)


def test_up_again_is_the_same_run(settings: Settings, installation: Places) -> None:
    before = state(settings).supervisor
    assert control.up(installation.settings).supervisor == before


def test_a_second_supervisor_is_refused(settings: Settings, installation: Places) -> None:
    second = cli(installation, "up", "--foreground")
    assert second.returncode == 1
    assert "running already" in second.stderr or "cannot listen" in second.stderr


def test_status_says_that_all_is_well(settings: Settings, installation: Places) -> None:
    done = cli(installation, "status", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = msgspec.json.decode(done.stdout)
    assert told["unready"] == {}
    kinds = {name.split("-")[0] for name in told["processes"]}
    assert kinds == {
        "postgres", "redis", "signer", "enroller", "clock", "recorder", "worker", "admin",
        "ingress",
    }  # fmt: skip
    assert cli(installation, "migrate", "--check").returncode == 0
    assert cli(installation, "preflight").returncode == 0


def test_every_process_says_how_its_signer_and_the_clock_are(settings: Settings) -> None:
    """Its epoch, its canary; ingress, too, which is ready without. The clock is never in the way."""
    asked = 0
    for name, sock in state(settings).health.items():
        status, body = asyncio.run(get(sock, "/readyz"))
        details = json.loads(body)["details"]
        assert details["clock"].split(":")[0] in {"ok", "degraded", "unknown"}, (name, details)
        if name == "clock-0":
            continue
        says = details["signer"]
        assert (status, says.split(",")[0][:13]) == (200, "signs: epoch "), (name, says)
        asked += 1
    assert asked >= 4


def test_the_admin_process_shows_the_daemons_figures(settings: Settings) -> None:
    sock = state(settings).health["admin-0"]

    def shown() -> bool:
        _, text = asyncio.run(get(sock, "/metrics"))
        return all(
            f'portcullis_hsm_up{{daemon="{daemon}"}} 1.0' in text.decode()
            for daemon in ("signer", "enroller")
        )

    until(shown)


def test_every_process_is_a_target_and_shows_what_expressions_may_name(settings: Settings) -> None:
    now = state(settings)
    authority = settings.admin.tls.certificate.with_name("ca.pem")
    shown = scraped(now.urls["admin"], authority, set(now.health))
    known = product()
    for name, labels in shown.items():
        if name.startswith("portcullis_") and not name.endswith("_created"):
            assert labels <= known[name], name
    assert shown.keys() >= SHOWN


def test_what_the_signer_refuses_is_in_the_platforms_log(settings: Settings) -> None:
    """From the daemon's journal by the recorder's own process, once."""

    async def refused() -> None:
        async with SignerClient(settings.hsm.signer_socket) as signer:
            with pytest.raises(SigningRefused):
                await signer.sign_note("a log", b"pay to bearer")

    def leaves() -> int:
        with psycopg.connect(settings.database.recorder) as conn:
            row = conn.execute(
                "SELECT count(*) FROM audit_leaves"
                " WHERE convert_from(leaf, 'UTF8')::json ->> 'k' = 'hsm.refused'"
            ).fetchone()
        return int(row[0]) if row else 0

    before = leaves()
    asyncio.run(refused())
    until(lambda: leaves() == before + 1)
    time.sleep(2.5)
    assert leaves() == before + 1


def test_the_audit_log_is_checked_all_the_time_and_nothing_differs(
    settings: Settings, installation: Places
) -> None:
    """Of every log, the anchor log too: by the recorder's own rounds, and by the command."""
    with psycopg.connect(settings.database.recorder, autocommit=True) as conn:

        def checked() -> bool:
            rows = conn.execute(
                "SELECT l.kind, c.rounds, c.found FROM audit_logs l JOIN audit_checks c USING (log_id)"
            ).fetchall()
            assert all(found is None for _, _, found in rows), rows
            return {kind for kind, rounds, _ in rows if rounds} == {"records", "anchor"}

        until(checked)
    done = cli(installation, "audit", "check")
    assert done.returncode == 0, done.stdout


def test_no_process_may_leave_a_core_behind(settings: Settings) -> None:
    """A core holds opened secrets."""
    for name, process in state(settings).processes.items():
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], name


OF_THE_MACHINE = ("disk", "kernel", "clock")
"""What the doctor says of these is true of whatever runs the tests, and no word about the product."""


def test_the_doctor_finds_nothing_wrong_with_a_product_that_is_well(
    settings: Settings, installation: Places
) -> None:
    said: dict[str, Any] = {}

    def is_well() -> bool:
        said.update(json.loads(cli(installation, "doctor", "--json").stdout))
        bad = [one for one in said["findings"] if one["level"] in ("wrong", "unseen")]
        return not [one for one in bad if one["subject"] not in OF_THE_MACHINE]

    until(is_well)
    assert said["counts"]["well"] > 40


RELOAD = "SELECT pg_reload_conf()"
MAIL = "ada@client.example.com"


@pytest.fixture(scope="module")
def broken(
    settings: Settings, installation: Places, tmp_path_factory: pytest.TempPathFactory
) -> Collected:
    """Real faults at once, secrets in a log, and the evidence collected meanwhile."""
    directory = tmp_path_factory.mktemp("broken")
    create_dev_certificates(directory, datetime.now(UTC))
    pin = settings.hsm.sign_pin_file.read_bytes()
    leak = b'{"event": "pin %s %s", "who": "%s"}\n' % (pin, pin.hex().encode(), MAIL.encode())
    now = state(settings).processes
    ground = ground_of(settings, installation.settings)
    wish = Wish(ground, datetime.now(UTC) - timedelta(hours=1), "a test", "a drill")
    with ExitStack() as faults:
        with (installation.log / "ingress-0.log").open("ab") as log:
            log.write(leak)
        faults.enter_context(changed(installation.keys / "operator.key", mode=0o644))
        own = (directory / "server.pem").read_bytes()
        faults.enter_context(changed(settings.ingress.tls.certificate, own))
        faults.enter_context(
            altered(
                installation,
                ("ALTER ROLE portcullis_ingress BYPASSRLS", "ALTER ROLE portcullis_ingress NOBYPASSRLS"),
                ("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY", "ALTER TABLE orders FORCE ROW LEVEL SECURITY"),
                ("ALTER SYSTEM SET full_page_writes = off", "ALTER SYSTEM RESET full_page_writes"),
                (RELOAD, RELOAD),
            )
        )  # fmt: skip
        faults.enter_context(frozen(now["redis"], now["enroller"], now["worker-0"]))
        return asyncio.run(collect(wish, directory / "out", PARTS))


def test_status_names_what_is_not_ready_and_why(settings: Settings, installation: Places) -> None:
    clock = state(settings).processes["clock-0"]
    with frozen(clock):
        told = cli(installation, "status", "--json")
        shown = cli(installation, "status")
    assert (told.returncode, shown.returncode) == (1, 1)
    assert msgspec.json.decode(told.stdout)["unready"] == {"clock-0": "no answer (TimeoutError)"}
    assert "no: no answer" in shown.stdout


def files_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {
            member.name.partition("/")[2]: opened.read()
            for member in tar
            if (opened := tar.extractfile(member)) is not None
        }


def test_the_doctor_names_each_of_several_real_faults(
    broken: Collected, installation: Places
) -> None:
    findings = json.loads(files_of(broken.path)["doctor.json"])["findings"]
    wrong = {(one["subject"], one["what"]) for one in findings if one["level"] == "wrong"}
    assert wrong >= {
        ("Redis", "reach"),
        ("HSM", "enroller"),
        ("processes", "worker-0"),
        ("files", f"operator.key, {installation.keys / 'operator.key'}"),
        ("certificates", "ingress, key"),
        ("PostgreSQL", "roles' rights"),
        ("PostgreSQL", "wall between tenants"),
        ("PostgreSQL", "full_page_writes"),
    }
    assert not {("HSM", "signer"), ("processes", "signer"), ("processes", "recorder-0")} & wrong
    other = {one["what"]: one["level"] for one in findings if one["level"] not in ("wrong", "well")}
    assert other["ingress, shown"] == "warning"
    assert other["doubt"] == "unseen"


def test_evidence_is_collected_while_half_is_down_and_says_what_is_missing(
    broken: Collected,
) -> None:
    missing = {gap.what: gap.why for gap in broken.gaps}
    assert {"Redis", "HSM daemon enroller", "metrics/worker-0.txt", "ready/worker-0.json"} <= set(
        missing
    )
    assert all(missing.values())
    found = files_of(broken.path)
    kinds = {name.split("/")[0] for name in found}
    assert kinds >= {
        "MANIFEST.json", "doctor.txt", "versions.json", "settings", "processes.json", "logs", "metrics",
        "ready", "work.json", "database", "clock.json", "hsm", "audit", "stores", "host",
    }  # fmt: skip
    assert check(broken.path).faults == ()
    proofs = [json.loads(data) for name, data in found.items() if name.endswith("consistency.json")]
    assert any(one["to_size"] > one["from_size"] > 0 and one["proof"] for one in proofs)
    assert b"SELECT" not in found["database/sessions.json"]


def test_no_secret_of_the_host_is_in_the_evidence_and_one_that_leaked_is_told(
    broken: Collected, settings: Settings, installation: Places
) -> None:
    """Every secret that lies here, in every file, in every spelling; the log had one of them."""
    assert broken.leaked == ("logs/ingress-0.log",)
    secret = [one for one in (installation.var / "secrets").rglob("*") if one.is_file()]
    assert len(secret) >= 5
    found = files_of(broken.path)
    for path in secret:
        for how, wanted in spellings(path.read_bytes().strip()).items():
            assert [name for name, data in found.items() if wanted in data] == [], (path, how)
    key = settings.ingress.tls.key.read_bytes().splitlines()[1]
    assert [name for name, data in found.items() if key in data or MAIL.encode() in data] == []


@pytest.mark.parametrize(
    "name", ["postgres", "redis", "signer", "worker-0", "ingress-0", "admin-0"]
)
def test_whatever_is_killed_comes_back_ready(settings: Settings, name: str) -> None:
    before = state(settings).processes[name]
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: state(settings).processes.get(name, before).pid != before.pid)
    until(lambda: well(settings))
    assert state(settings).processes[name].restarts == before.restarts + 1


def test_a_connection_made_while_ingress_is_away_is_served_by_its_successor(
    settings: Settings,
) -> None:
    """The supervisor holds the listening socket: nobody is refused meanwhile."""
    port = int(state(settings).urls["ingress"].rsplit(":", 1)[1])
    os.kill(state(settings).processes["ingress-0"].pid, signal.SIGKILL)
    authority = settings.ingress.tls.certificate.parent / "ca.pem"
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert secure.recv(100).startswith(b"HTTP/1.1 404")


def test_a_killed_supervisor_takes_everything_with_it(
    settings: Settings, installation: Places
) -> None:
    before = state(settings)
    os.kill(before.supervisor.pid, signal.SIGKILL)
    until(lambda: not any(is_alive(process) for process in before.processes.values()))
    assert control.state_of(settings) is None
    again = control.up(installation.settings)
    assert isinstance(again.supervisor, Process)


def test_down_leaves_nothing(settings: Settings, installation: Places) -> None:
    """Runs last: it ends what the others used."""
    processes = list(state(settings).processes.values())
    assert control.down(settings)
    assert [process for process in processes if is_alive(process)] == []
    assert not control.down(settings)
    assert cli(installation, "status").returncode == 1
    said = cli(installation, "doctor", "--brief")
    assert said.returncode == 1
    assert "nothing of ours runs here" in said.stdout
