"""Keeps one person's session running: credential, login count, handover, restart. Never has the secret.

    1. the credential that the person's account has now, from its row (sealed; useless here)
    2. a login may be made, and is counted (logins.py)
    3. the session is launched (hsm/handover.py): the signer hands the secret to it, not to us
    4. it ends, and ending.py says when the next one begins

A crash at any step ends the session with us (it is told by the kernel); the next keeper begins at 1.

A key that is to be proven is tried here, too: a second session, for as long as the proof takes, that
places nothing. With the first it makes two of five connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from fanout.brokers.shioaji import messages as m
from fanout.brokers.shioaji.settings import Person, ShioajiSettings, to_json
from hsm.handover import launch
from ops.probe import accepts
from ops.session.ending import REFUSED, pause
from ops.session.logins import Logins
from ops.session.private import environment, private_directory
from tenancy.account import Account
from tenancy.clock import Clock
from tenancy.errors import UNREADABLE, PortcullisError

LOOK_S = 2.0
TRIAL_S = 30.0
STOP_S = 5.0
PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "SHIOAJI_EXCHANGE")
"""Of our environment. The last is where a scripted exchange is, when `sdk` names one."""

ReadAccount = Callable[[Person], Awaitable[Account | None]]
log = structlog.get_logger()


class Keeper:
    """One person's."""

    def __init__(
        self,
        settings: ShioajiSettings,
        person: Person,
        read: ReadAccount,
        clock: Clock,
        *,
        log_level: str = "info",
        look_s: float = LOOK_S,
    ) -> None:
        self._settings, self._person, self._log_level = settings, person, log_level
        self._read, self._clock, self._look_s = read, clock, look_s
        path = settings.runtime / f"sj-{person.name}.logins"
        self._logins = Logins(path, clock, settings.logins_per_day)
        self._refused: tuple[str, bytes] | None = None
        self._trying = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        server = await asyncio.start_unix_server(self._serve, str(self.door))
        os.chmod(self.door, 0o600)
        keeping = asyncio.create_task(self._keep())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([keeping, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, stopping):
            task.cancel()
        server.close()
        await asyncio.gather(keeping, stopping, return_exceptions=True)
        self.door.unlink(missing_ok=True)
        if keeping.done() and not keeping.cancelled() and keeping.exception() is not None:
            raise keeping.exception() or AssertionError

    @property
    def door(self) -> Path:
        return self._settings.keeper(self._person.name)

    async def answers(self) -> str:
        """A readiness check: the session takes requests. Raises PortcullisError."""
        socket = self._settings.socket(self._person.name)
        if not await accepts(socket):
            raise PortcullisError(f"no session of {self._person.name} answers")
        return "answers"

    async def _keep(self) -> None:
        failures = 0
        while True:
            credential = await self._credential()
            wait = self._logins.wait_s()
            if credential is None or credential == self._refused or wait > 0:
                await asyncio.sleep(max(self._look_s, min(wait, 60.0)))
                continue
            began = self._clock.monotonic()
            status = await self._session(*credential)
            lived = self._clock.monotonic() - began
            failures = 0 if lived > 600 or status == 0 else failures + 1
            after = pause(status, lived, failures)
            log.info("shioaji_session_ended", status=status, lived_s=round(lived), next=after)
            if after == "another_key":
                self._refused = credential
            else:
                await asyncio.sleep(after)

    async def _credential(self) -> tuple[str, bytes] | None:
        try:
            account = await self._read(self._person)
        except PortcullisError as error:
            log.warning("shioaji_credential_unread", error=str(error))
            return None
        if account is None or account.api_key is None or account.sealed is None:
            return None
        return account.api_key, account.sealed

    async def _session(self, api_key: str, sealed: bytes) -> int:
        """One, from its launch to its end; its status."""
        with private_directory(self._settings.private, self._person.name) as directory:
            try:
                process = await self._launch(directory, api_key, sealed)
            except PortcullisError as error:
                log.warning("shioaji_session_not_launched", error=str(error))
                return 1
            try:
                return await process.wait()
            finally:
                await _end(process)

    async def _launch(
        self, directory: Path, api_key: str, sealed: bytes, *more: str
    ) -> asyncio.subprocess.Process:
        """Raises PortcullisError."""
        self._logins.count()
        file = directory / "settings.json"  # all that the session is told of this host
        file.write_bytes(to_json(self._settings))
        command = [
            sys.executable, "-m", "ops.session", "--settings", str(file),
            "--person", self._person.name, "--api-key", api_key,
            "--log-level", self._log_level, *more,
        ]  # fmt: skip
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return await launch(
            command,
            door=self._settings.door,
            sealed=sealed,
            tenant_id=self._person.tenant,
            subject=str(self._person.account),
            environment=passed_on | environment(directory),
        )

    # -------------------------------------------------------------- proving a key

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One trial per connection: it lasts as long as the connection, TRIAL_S at most."""
        try:
            body = await m.read_frame(reader)
            if body is None:
                return
            asked = m.trials.decode(body)
            async with self._trying, asyncio.timeout(TRIAL_S):
                await self._try(asked, reader, writer)
        except (*UNREADABLE, OSError, TimeoutError, PortcullisError) as error:
            log.warning("shioaji_trial", error=str(error))
            if not writer.is_closing():
                writer.write(m.frame(m.Failed(0, f"the key could not be tried: {error}")))
        finally:
            writer.close()

    async def _try(
        self, asked: m.Trial, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name = f"{self._person.name}.trial"
        if self._logins.wait_s() > 0:
            raise PortcullisError("no login is left for today")
        with private_directory(self._settings.private, name) as directory:
            process = await self._launch(directory, asked.api_key, asked.sealed, "--trial")
            try:
                socket = self._settings.socket(name)
                while process.returncode is None and not await accepts(socket):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                refused = process.returncode == REFUSED
                if process.returncode is not None and not refused:
                    raise PortcullisError(f"the session ended with status {process.returncode}")
                writer.write(m.frame(m.answered(asked.id, m.Tried(refused=refused))))
                await writer.drain()
                if not refused:
                    await reader.read(1)  # until who asked hangs up
            finally:
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, so that it logs out; SIGKILL where it does not."""
    if process.returncode is not None:
        return
    process.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            await process.wait()
        return
    process.kill()
    await process.wait()
