"""One person's session process, launched by its keeper: `python -m ops.session --person NAME --secret-fd N …`.

1. One session of a person per host: a lock. No core dumps, told to end when its keeper ends.
2. The secret comes over the inherited pipe (hsm/handover.py): `SECRET_KEY` or `SECRET_KEY:CA_PASSWORD`.
3. The SDK is made and logged in, in production the certificate is activated: its file is copied to the
   private directory, and gone when the call is over. All of it within `login_timeout_s`, or the kernel
   ends the process. (Without a network SDK 1.7.9 ends it by itself: it crashes where it is made.)
4. The secret is overwritten; what the SDK keeps, it keeps.
5. It serves until its time of day, SIGTERM, a ban or the end of the token, then logs out.

A crash after 3 leaves a connection at SinoPac until SinoPac misses it; five are allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import fcntl
import importlib
import os
import shutil
import signal
import sys
import traceback
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import cast

import structlog

from fanout.brokers.shioaji import errors
from fanout.brokers.shioaji.calls import Calls
from fanout.brokers.shioaji.desk import Desk
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.names import TAIPEI
from fanout.brokers.shioaji.port import Sdk, SdkAccount, SdkModule
from fanout.brokers.shioaji.serving import SessionServer
from fanout.brokers.shioaji.session import Session
from fanout.brokers.shioaji.settings import Person, ShioajiSettings, from_json
from hsm.errors import SignerUnavailable
from hsm.handover import handed
from hsm.hardening import harden
from ops.session import ending
from ops.telemetry import set_up_logging
from tenancy.clock import SystemClock
from tenancy.errors import PortcullisError, Unavailable

PR_SET_PDEATHSIG = 1
log = structlog.get_logger()


class _Ended(Exception):
    """With this exit status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def alone(lock: Path) -> int:
    """The lock, held until we end. Raises _Ended where another session of the person runs."""
    handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.error("shioaji_session_runs_already")
        raise _Ended(ending.BUSY) from None
    return handle


def log_in(
    module: SdkModule, settings: ShioajiSettings, person: Person, api_key: str, descriptor: int
) -> tuple[Sdk, list[SdkAccount]]:
    """Steps 2 to 4. Raises _Ended, and what the signer answers."""
    with handed(descriptor) as secret:
        key, _, ca_password = secret.text().partition(":")
        signal.setitimer(signal.ITIMER_REAL, settings.login_timeout_s)
        try:
            sdk = module.Shioaji(simulation=settings.simulation)
            accounts = sdk.login(api_key, key)
            if not settings.simulation:
                _activate(sdk, person, ca_password)
        except Exception as error:
            text = errors.words(error).replace(key, "…")
            if ca_password:
                text = text.replace(ca_password, "…")
            log.error("shioaji_login_failed", error=text)
            raise _Ended(_status(error)) from None  # its frames hold the secret
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            del key, ca_password
    return sdk, accounts


def _activate(sdk: Sdk, person: Person, password: str) -> None:
    """The certificate, from a file that is there for the time of the call. Raises the SDK's own."""
    assert person.ca_file is not None
    copy = Path(os.environ["SJ_HOME_PATH"]) / "ca.pfx"
    try:
        shutil.copyfile(person.ca_file, copy)
        copy.chmod(0o600)
        if not sdk.activate_ca(str(copy), password, person.person_id):
            log.error("shioaji_certificate_not_activated")
            raise _Ended(ending.REFUSED)
    finally:
        copy.unlink(missing_ok=True)


def _status(error: Exception) -> int:
    if isinstance(error, _Ended):
        return error.status
    if errors.banned(error):
        return ending.BANNED
    return ending.REFUSED if errors.is_a(error, "AuthError", "CaError", "OSError") else 1


def until(at: time, now: datetime) -> float:
    """Seconds to the next time of day in Taipei."""
    here = now.astimezone(TAIPEI)
    then = datetime.combine(here.date(), at, TAIPEI)
    if then <= here:
        then += timedelta(days=1)
    return (then - here).total_seconds()


async def serve(
    sdk: Sdk,
    module: SdkModule,
    accounts: list[SdkAccount],
    settings: ShioajiSettings,
    person: Person,
    api_key: str,
    *,
    trial: bool,
) -> int:
    """Step 5; the exit status."""
    clock = SystemClock()
    name = f"{person.name}.trial" if trial else person.name
    calls = Calls(settings, journal := Journal(settings.journal(name), clock))
    session = Session(Desk(sdk, module, accounts, settings, journal, clock, calls))
    server = SessionServer(session, settings.socket(name), tenant=person.tenant, api_key=api_key)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    try:
        if not trial:
            await asyncio.to_thread(session.table.load)
            connections = await asyncio.to_thread(sdk.usage)
            log.info("shioaji_usage", connections=connections.connections, bytes=connections.bytes)
        await server.start()
        log.info("shioaji_session_ready", accounts=len(accounts), simulation=settings.simulation)
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(calls.ended.wait())]
        await asyncio.wait(
            waits,
            timeout=until(settings.restart_at, clock.now()),
            return_when=asyncio.FIRST_COMPLETED,
        )
        for wait in waits:
            wait.cancel()
    finally:
        await server.stop()
        await asyncio.to_thread(session.close)
        journal.close()
    if calls.ended.is_set() and not stop.is_set():
        return ending.BANNED if calls.banned else ending.TOKEN
    return ending.PLANNED


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.session", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--person", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--trial", action="store_true", help="prove a key, place nothing")
    parser.add_argument("--secret-fd", type=int, required=True)
    given = parser.parse_args(arguments)
    harden()
    os.umask(0o077)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        set_up_logging(given.log_level, process=f"shioaji-{given.person}")
        settings = from_json(given.settings.read_bytes())
        person = settings.person(given.person)
        if person is None:
            raise Unavailable(f"[brokers.shioaji] has no person {given.person!r}")
        name = f"{person.name}.trial" if given.trial else person.name
        lock = alone(settings.socket(name).with_suffix(".lock"))
        module = cast(SdkModule, importlib.import_module(settings.sdk))
        sdk, accounts = log_in(module, settings, person, given.api_key, given.secret_fd)
        status = asyncio.run(
            serve(sdk, module, accounts, settings, person, given.api_key, trial=given.trial)
        )
        os.close(lock)
        return status
    except _Ended as end:
        return end.status
    except PortcullisError as error:
        print(f"portcullis: {error.code}: {error}", file=sys.stderr)  # noqa: T201 - before logging
        return 1 if isinstance(error, SignerUnavailable | Unavailable) else ending.REFUSED


if __name__ == "__main__":
    # Threads of the SDK that hang do not keep a process that has said that it ends.
    code = 1
    try:
        code = main()
    except Exception:
        traceback.print_exc()  # lines of code, no values
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
