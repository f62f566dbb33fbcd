"""A session's socket: requests in, the session's values out, each in a task of its own.

The socket's directory is the host's runtime directory, for our own user alone. Who hangs up while his
request is under way has his doubt: what was begun goes on, since an order cannot be taken back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from fanout.abilities import Hint
from fanout.brokers.shioaji import messages as m
from fanout.brokers.shioaji.session import Session
from fanout.proof import NotProven, Proof, Proven
from tenancy.errors import UNREADABLE, Unavailable

log = structlog.get_logger()
HINTS_MOST = 10_000


class SessionServer:
    """Serves one session at one socket. `tenant`: nobody else is served."""

    def __init__(self, session: Session, path: Path, *, tenant: UUID, api_key: str) -> None:
        self._session, self._path, self._tenant, self._api_key = session, path, tenant, api_key
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        mine: set[asyncio.Task[None]] = set()
        try:
            while (body := await m.read_frame(reader)) is not None:
                try:
                    request = m.requests.decode(body)
                except UNREADABLE as error:
                    log.error("shioaji_request_unreadable", error=str(error))
                    return
                task = asyncio.create_task(self._answer(request, writer))
                for each in (self._tasks, mine):
                    each.add(task)
                    task.add_done_callback(each.discard)
                if isinstance(request, m.Watch):
                    task.set_name("watch")
        finally:
            self._writers.discard(writer)
            writer.close()
            for task in mine:
                if task.get_name() == "watch":  # an order goes on, a watch does not
                    task.cancel()

    async def _answer(self, request: m.Request, writer: asyncio.StreamWriter) -> None:
        said: m.Said
        try:
            if isinstance(request, m.Watch):
                await self._watch(request, writer)
                return
            said = m.answered(request.id, await self._ask(request))
        except Unavailable as why:
            said = m.Failed(request.id, str(why))
        except Exception as error:
            if isinstance(request, m.Submit | m.Cancel | m.Reprice):
                log.exception("shioaji_session_fault")
                return  # silence is doubt, and nobody knows more
            said = m.Failed(request.id, f"a fault of the session: {error!r}")
        if not writer.is_closing():
            writer.write(m.frame(said))

    def _ask(self, request: m.Request) -> Awaitable[Any]:
        session = self._session
        whose = getattr(request, "whose", None)
        if whose is not None and whose.tenant_id != self._tenant:
            raise Unavailable("this session is another tenant's")
        match request:
            case m.Submit():
                return session.submit(request.whose, request.order, request.not_after)
            case m.Cancel():
                return session.cancel(request.whose, request.order)
            case m.Reprice():
                return session.reprice(
                    request.whose, request.order, request.price, request.not_after
                )
            case m.Find():
                return session.find(request.whose, request.order)
            case m.OpenOrders():
                return session.open_orders(request.whose)
            case m.Positions():
                return session.positions(request.whose)
            case m.EquityOf():
                return session.equity(request.whose)
            case m.Instruments():
                return session.instruments()
            case m.Prove():
                return self._prove(request.whose)
            case _:
                raise AssertionError(request)

    async def _prove(self, whose: m.Whose) -> Proof:
        """That this session is logged in is the proof. Shioaji's keys cannot move money: it has no such call."""
        if whose.api_key != self._api_key:
            raise Unavailable("the session that runs is logged in with another key")
        account = self._session.accounts.get(whose.number)
        checks = ("login", "account")
        if account is None:
            words = f"{whose.number} is no account of the person whose key this is"
            return NotProven(code="other_user", words=words, checks=checks)
        if not account.signed:
            words = f"{whose.number} has not signed SinoPac's terms for API orders"
            return NotProven(code="not_signed", words=words, checks=checks)
        await self._session.positions(whose)
        return Proven(
            scopes=("trade",),
            checks=(*checks, "signed", "positions"),
            broker_user=account.person_id,
        )

    async def _watch(self, request: m.Watch, writer: asyncio.StreamWriter) -> None:
        """Until the connection ends. A watcher that does not read is told of a gap instead."""
        if request.whose.tenant_id != self._tenant:
            return
        queue: asyncio.Queue[Hint] = asyncio.Queue()
        with self._session.news.watching(request.whose, queue.put_nowait):
            while True:
                hint = await queue.get()
                if queue.qsize() > HINTS_MOST:
                    while not queue.empty():
                        queue.get_nowait()
                    hint = Hint(kind="gap", account_id=request.whose.account_id)  # type: ignore[arg-type]
                writer.write(m.frame(m.Told(request.id, hint)))
                await writer.drain()
