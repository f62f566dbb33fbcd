"""`./appliance demo`: the whole product on real input, in under ninety seconds.

1. A private installation under var/demo, an exchange simulator, both on loopback.
2. A tenant, a strategy, forty accounts at two brokers, each sized in its own way.
3. Signed webhooks over HTTPS; the first is shown account by account.
4. SIGKILL for a worker in the middle of a fan-out of all accounts; then the count at the exchange.
5. The audit log, verified from its files alone, and one order's proof.

Everything it starts it ends, whatever happens, Ctrl-C, a closed terminal and SIGTERM included (what a
SIGKILL leaves, the next run ends first); with --keep it stays and says how to use it. One demo at a
time runs in a clone: a second one says so and touches nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ops.demo.evidence import prove_one, verify
from ops.demo.numbers import Result, result
from ops.demo.pages import Pages
from ops.initialise import PAPER_INSTRUMENTS, Choices
from ops.trial.cast import Cast, assemble
from ops.trial.customer import API_RATES, customer
from ops.trial.exchange import Exchange, broker_settings, exchange
from ops.trial.installation import Installation, free_port, fresh, running
from ops.trial.outcome import Story, settled, story
from ops.trial.sender import Sender, Sent, sender
from tenancy.database import Database
from tenancy.errors import PortcullisError, Unavailable

ACCOUNTS = 40
ROUNDS = 10
SETTLE_S = 30.0
HOOK_S = 5.0
OUT_AT_KILL = 5
CONTRACT_DEPTH = (("BTC_USDT", "60000"), ("ETH_USDT", "3000"))


class Demo:
    """One run, from an installation that is up."""

    def __init__(
        self, pages: Pages, here: Installation, market: Exchange, cast: Cast, database: Database
    ) -> None:
        self._pages = pages
        self._here = here
        self._market = market
        self._cast = cast
        self._database = database
        self.sent: list[Sent] = []
        self.timed: list[Sent] = []

    async def play(self, strategy: Sender) -> Result:
        await self._first_signal(strategy)
        await self._rounds(strategy)
        await self._kill(strategy)
        return await self._count()

    async def _send(
        self, strategy: Sender, fields: dict[str, Any], message_id: str | None = None
    ) -> Sent:
        sent = await strategy.send(message_id, **fields)
        patience = time.monotonic() + HOOK_S
        while sent.status == 503 and time.monotonic() < patience:  # a new hook: try as told to
            await asyncio.sleep(0.2)
            sent = await strategy.send(sent.message_id, **fields)
        if sent.status != 202 or sent.signal_id is None:
            raise Unavailable(f"the hook answered {sent.status}: {sent.answer}")
        self.sent.append(sent)
        return sent

    async def _settled(self, *sent: Sent) -> None:
        ids = [one.signal_id for one in sent if one.signal_id]
        await settled(self._database, self._cast.scope, ids, within_s=SETTLE_S)

    async def _story(self, sent: Sent) -> Story:
        assert sent.signal_id is not None
        return await story(self._database, self._cast.scope, sent.signal_id)

    async def _first_signal(self, strategy: Sender) -> None:
        self._pages.step("One signed webhook: buy 10 BTC_USDT")
        fields: dict[str, Any] = {
            "ticker": "BTC_USDT",
            "action": "buy",
            "quantity": 10,
            "signalPrice": 60000,
        }
        sent = await self._send(strategy, fields)
        await self._settled(sent)
        self._pages.decisions(self._cast, sent, await self._story(sent))
        again = await self._send(strategy, fields, sent.message_id)
        same = "the same answer" if again.answer == sent.answer else "ANOTHER ANSWER"
        self._pages.say(f"sent once more under the same id: {same}, and nothing new happened")
        self.timed.append(sent)

    async def _rounds(self, strategy: Sender) -> None:
        self._pages.step(f"{2 * ROUNDS} more signals, undisturbed, for the clock")
        for _ in range(ROUNDS):
            for fields in (
                {"ticker": "BTC_USDT", "action": "exit"},
                {"ticker": "BTC_USDT", "action": "buy", "quantity": 10, "signalPrice": 60000},
            ):
                sent = await self._send(strategy, fields)
                await self._settled(sent)
                self.timed.append(sent)
        slowest = max(one.took_s for one in self.timed) * 1000
        self._pages.say(f"every one was answered 202, the slowest after {slowest:.0f} ms")

    async def _kill(self, strategy: Sender) -> None:
        self._pages.step("SIGKILL for every worker in the middle of a fan-out of all accounts")
        before = await self._market.count()
        order = {"ticker": "ETH_USDT", "action": "sell", "quantity": 10, "signalPrice": 3000}
        sent = await self._send(strategy, order)
        await self._until_some_are_out(before)
        for name in self._here.names("worker"):
            pid = self._here.kill(name)
            self._pages.say(f"{name} (pid {pid}) is dead; the supervisor starts another")
        at_kill = await self._market.count() - before
        self._pages.say("their leases run out, others take them over and ask the exchange first …")
        await self._settled(sent)
        told = await self._story(sent)
        wanted = sum(len(e.legs) for e in told.plan.entries if e.broker == "gateio")
        after = await self._market.count() - before
        self._pages.killed(at_kill, after, wanted, told)

    async def _until_some_are_out(self, before: int) -> None:
        """Until some orders have been executed; the others are intents, or on their way."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if await self._market.count() >= before + OUT_AT_KILL:
                return
            await asyncio.sleep(0.001)  # the exchange tells nobody: asking is all there is
        raise Unavailable("the fan-out did not begin")

    async def _count(self) -> Result:
        self._pages.step("The audit log, from its files alone")
        verdict = await verify(self._here.settings, self._cast.scope, self._database, self._pages)
        stories = {s.signal_id: await self._story(s) for s in self.sent if s.signal_id}
        last = stories[self.sent[-1].signal_id or ""]
        await prove_one(self._here.settings, self._cast.scope, self._database, last, self._pages)
        return result(
            accounts=len(self._cast.members),
            sent=self.sent,
            timed=self.timed,
            stories=stories,
            executed=await self._market.executed(),
            verdict=verdict,
        )


@contextmanager
def alone(var: Path) -> Iterator[None]:
    """Hold `var` for one demo. Raises Unavailable where another has it; the lock dies with its holder."""
    var.parent.mkdir(parents=True, exist_ok=True)
    with (var.parent / f"{var.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another demo runs in {var}: wait until it has ended, or end it with Ctrl-C"
                " where it was started"
            ) from None
        yield


async def run(var: Path, *, keep: bool, quiet: bool) -> Result:
    """The demo. Raises PortcullisError where a step does not do what it shows."""
    task = asyncio.current_task()
    assert task is not None
    for ending in (signal.SIGTERM, signal.SIGHUP):  # Ctrl-C is the runner's own
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup's wish is kept
            asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    pages, begun = Pages(quiet=quiet), time.monotonic()
    pages.step("A private installation: PostgreSQL, Redis, SoftHSM, and the product's processes")
    async with exchange(var.parent / "demo-exchange.log") as market:
        for contract, mark in CONTRACT_DEPTH:
            await market.depth(contract, mark, "1000000")
        choices = Choices(
            ingress_port=0,
            admin_port=free_port(),  # by name, for it is in the answers' status links
            rate_per_minute=600,
            rate_per_hour=6000,
            api_rates=API_RATES,
            brokers={
                "gateio": broker_settings(market.url),
                "paper": {"instruments": PAPER_INSTRUMENTS},
            },
        )
        where = await asyncio.to_thread(fresh, var, choices)
        async with running(where) as here:
            pages.say(f"up after {time.monotonic() - begun:.1f} s:")
            pages.say(", ".join(here.state.processes))
            outcome = await _with_cast(pages, here, market, begun, keep=keep)
            if keep:
                await _stay(pages)
    return outcome


async def _with_cast(
    pages: Pages, here: Installation, market: Exchange, begun: float, *, keep: bool
) -> Result:
    pages.step(f"A tenant, a strategy, {ACCOUNTS} accounts at two brokers; every API secret sealed")
    async with customer(here, "Acme Asset Management") as house:
        cast = await assemble(house, market, accounts=ACCOUNTS)
    papers = sum(1 for member in cast.members if member.broker == "paper")
    pages.say(
        f"{ACCOUNTS - papers} accounts at the Gate.io API (the exchange simulator, {market.url}),"
        f" {papers} at the paper broker"
    )
    database = Database(here.settings.database.admin, name="portcullis-demo", size=2)
    await database.open()
    try:
        url, authority = here.state.urls["ingress"], here.places.var / "tls" / "ca.pem"
        async with sender(url, authority, cast.hook) as strategy:
            outcome = await Demo(pages, here, market, cast, database).play(strategy)
            pages.summary(outcome, time.monotonic() - begun)
            if keep:
                _how_to(pages, here, strategy, authority, house.service_key, cast)
    finally:
        await database.close()
    return outcome


def _how_to(
    pages: Pages, here: Installation, strategy: Sender, authority: Path, key: str, cast: Cast
) -> None:
    """URLs and a ready curl line; the hook's secret is of this demo alone."""
    pages.step("It stays up; Ctrl-C ends it")
    for name, url in here.state.urls.items():
        pages.say(f"{name}: {url}")
    pages.say("certificate authority:")
    pages.copy(str(authority))
    pages.say("service key of the management API:")
    pages.copy(key)
    script = (
        'body=\'{"ticker":"BTC_USDT","action":"exit"}\'; id=msg_$(date +%s%N); at=$(date +%s);'
        f" key=$(printf %s '{cast.hook.secret.removeprefix('whsec_')}' | base64 -d | od -An -tx1 -v"
        " | tr -d ' \\n');"
        ' sig=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key'
        " -binary | base64);"
        f" curl --cacert {shlex.quote(str(authority))} {strategy.url} -H 'content-type: application/json'"
        ' -H "webhook-id: $id" -H "webhook-timestamp: $at" -H "webhook-signature: v1,$sig" -d "$body"'
    )
    pages.say("a signal of your own (close every position), for another terminal:")
    pages.copy(script)
    pages.say("what became of it, per account (`outcome/accounts` of the answer's `links.self`):")
    pages.copy(
        f"curl --cacert {shlex.quote(str(authority))} -H 'Authorization: Bearer {key}'"
        f" {here.state.urls['admin']}/v1/signals/SIGNAL_ID/outcome/accounts"
    )


async def _stay(pages: Pages) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pages.say("ending everything …")
        raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="./appliance demo", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--keep", action="store_true", help="stay up, and print URLs and a curl line"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object at the end, no more"
    )
    parser.add_argument("--var", type=Path, default=Path("var/demo"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        with alone(arguments.var):
            outcome = asyncio.run(run(arguments.var, keep=arguments.keep, quiet=arguments.json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("ended; nothing of the demo is left running", file=sys.stderr)  # noqa: T201
        return 130
    except PortcullisError as error:
        print(f"the demo failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(outcome)))  # noqa: T201
    honest = outcome.lost == 0 and outcome.duplicates == 0 and outcome.audit == "verified"
    return 0 if honest else 1


if __name__ == "__main__":
    sys.exit(main())
