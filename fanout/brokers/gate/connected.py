"""From open() to close() of an adapter at Gate.io: warm connections, a fresh table, Gate's time; and its reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fanout.brokers.gate import labels
from fanout.brokers.gate.client import GateClient, NoAnswer
from fanout.brokers.gate.reading import Answer, label_of
from fanout.brokers.gate.request import Request
from fanout.brokers.gate.table import InstrumentTable
from fanout.ports import BrokerAccount
from tenancy.errors import Unavailable

Ask = Callable[[BrokerAccount, Request], Awaitable[Answer]]
"""Signs and sends one question; raises NoAnswer, NotSent."""


class Connected:
    """Owns what runs in the background."""

    def __init__(self, broker: str, client: GateClient, table: InstrumentTable) -> None:
        self._broker = broker
        self._client = client
        self._table = table
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Warm the connections, load the table, keep it and Gate's time fresh. Raises Unavailable."""
        try:
            await self._client.open()
            await self._table.get()
        except NoAnswer as why:
            await self._client.close()
            raise Unavailable(f"Gate.io did not answer: {why}") from why
        except BaseException:
            await self._client.close()
            raise
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._table.keep_fresh(), name=f"{self._broker}-instruments"),
                asyncio.create_task(self._client.time.keep_compared(), name=f"{self._broker}-time"),
            ]

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()


async def read(
    ask: Ask, account: BrokerAccount, request: Request, *, if_unfunded: bytes | None = None
) -> bytes:
    """The body of an answer 200. Raises Unavailable.

    `if_unfunded`: what is meant where Gate has no such account, because nothing was ever transferred to it.
    """
    try:
        answer = await ask(account, request)
    except NoAnswer as why:
        raise Unavailable(f"Gate.io did not answer: {why}") from why
    if answer.status == 200:
        return answer.body
    label, text = label_of(answer)
    if label == labels.NEVER_FUNDED and if_unfunded is not None:
        return if_unfunded
    raise Unavailable(f"Gate.io refused {request.path}: status {answer.status} {label} {text}")
