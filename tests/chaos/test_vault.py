"""Faults of the vault while a real worker places sixty-four orders: each arrives, and arrives once.

What the worker then knows is "unsent", never doubt: without a signature no byte leaves. The exchange
checks every signature with a secret of the account's own, so a wrong one would be refused there and
stop the account; the auditor compares everything that each side says.
"""

import asyncio
import os
import signal
from contextlib import closing

import pytest

from loadtest.pkcs11 import control
from loadtest.pkcs11.control import Control
from tests.chaos.stage import LEFT
from tests.chaos.vault_stage import VaultStage
from tests.fixtures.relay import placed
from tests.integration.hsm.load import kept_up, until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ACCOUNTS = 64
SLOW_US = 8_000
"""Each call into the token: the sixty-four take about a second, and the fault comes in their midst."""
STATES = "SELECT state, count(*) FROM orders GROUP BY state"


@pytest.fixture
async def stage(database, gateio, softhsm, relay):
    softhsm.init()
    softhsm.start("enroller")
    made = VaultStage(database, gateio, softhsm)
    await made.set_up(ACCOUNTS)
    softhsm.stop("enroller")
    return made


def behind(vault):
    return {
        "module": f'"{vault.directory / "relay.so"}"', "hang_s": 0.5, "canary_every_s": 0.5, "worker_threads": 2,
    }  # fmt: skip


async def in_the_midst(stage) -> None:
    """Some of the orders have arrived, and not all."""
    await stage.signal(quantity=2)

    async def some() -> bool:
        return await stage.arrived() >= 8

    async with asyncio.timeout(20):
        await until(some)
    assert await stage.arrived() < ACCOUNTS


async def judged(stage) -> None:
    await stage.bench.until(LEFT, 0, 30.0)
    executed = await stage.executed()
    assert len(executed) == ACCOUNTS
    states = dict(await stage.rows(STATES))
    assert states.pop("filled") == ACCOUNTS
    # On a machine so busy that a lease runs out, its intents are asked about, and were never there.
    assert set(states) <= {"absent"}


LONGER = pytest.mark.longer


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("removed", marks=LONGER),
        pytest.param("reissued", marks=LONGER),
        pytest.param("hung", marks=LONGER),
        "killed",
    ],
)
async def test_each_order_arrives_once_whatever_happens_to_the_signer(stage, softhsm, relay, fault):
    relay.set(latency_us=SLOW_US)
    async with kept_up(softhsm, **behind(softhsm)) as child, stage.working():
        await in_the_midst(stage)
        if fault == "removed":
            relay.set(removed=control.DEVICE_REMOVED)
            await asyncio.sleep(1.0)
        elif fault == "reissued":
            relay.reissue()
        elif fault == "hung":
            relay.set(hang=1)
        else:
            os.kill(child.process().pid, signal.SIGKILL)
        relay.set(removed=0)
        await judged(stage)
        assert child.restarts >= 1


async def test_a_pin_that_is_refused_stops_orders_until_a_person_has_put_it_right(
    stage, softhsm, relay
):
    """Nothing is sent, nothing is given up: the orders wait, and are sent once when it signs again."""
    relay.set(latency_us=SLOW_US)
    async with stage.working():
        async with kept_up(softhsm, **behind(softhsm)) as child:
            await in_the_midst(stage)
            relay.set(wrong_pin=1)
            os.kill(child.process().pid, signal.SIGKILL)
            await asyncio.sleep(2.0)
            stood = await stage.arrived()
            await asyncio.sleep(1.0)
            assert await stage.arrived() == stood
            assert relay.get("faults") == 1
        relay.well()
        async with kept_up(softhsm, **behind(softhsm)):
            await judged(stage)


async def test_one_of_two_hsms_gone_costs_no_order_its_turn(stage, softhsm, relay):
    """Both answer as slowly: an impatient client asks the second too, and that must not be all of it."""
    mirror = softhsm.mirror()
    stage.sockets.append(mirror.socket("signer"))
    with closing(Control(placed(mirror.directory, softhsm.settings.module))) as second:
        second.set(latency_us=SLOW_US)
    relay.set(latency_us=SLOW_US)
    async with (
        kept_up(softhsm, **behind(softhsm)),
        kept_up(mirror, **behind(mirror)),
        stage.working(),
    ):
        await in_the_midst(stage)
        relay.set(removed=control.DEVICE_REMOVED)
        await judged(stage)
        assert relay.get("removed"), "the first one never came back meanwhile"
