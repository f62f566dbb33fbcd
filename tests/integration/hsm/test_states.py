"""What readiness and metrics say of the vault while something is wrong with it."""

import asyncio
import os
import re
import signal

import pytest
from prometheus_client import REGISTRY

from hsm.client import SignerClient
from hsm.errors import SignerUnavailable
from hsm.watch import ailing, described, watch
from loadtest.pkcs11 import control
from ops.health import run_checks
from ops.vault import signs, tells
from tests.integration.hsm.load import kept_up, until


def shown(name: str, daemon: str) -> float | None:
    return REGISTRY.get_sample_value(f"portcullis_hsm_{name}", {"daemon": daemon})


async def test_readiness_says_what_is_wrong_with_the_signer_and_metrics_show_it(softhsm, relay):
    softhsm.init()
    behind = {"module": f'"{softhsm.directory / "relay.so"}"', "canary_every_s": 0.5, "hang_s": 2.0}
    stop = asyncio.Event()
    async with (
        kept_up(softhsm, **behind) as child,
        softhsm.signer(timeout_s=0.5) as worker,
        softhsm.signer(timeout_s=0.5) as admin,
    ):
        checks = {"signer": signs(worker)}
        _, well = await run_checks(checks)
        assert well["signer"].startswith("signs: epoch 1, canary ")
        watching = asyncio.create_task(watch({"s": admin.lines[0]}, stop))

        async def up() -> bool:
            return shown("up", "s") == 1.0

        async with asyncio.timeout(5):
            await until(up)
        assert (shown("epoch", "s"), shown("sessions", "s")) == (1.0, 2.0)
        assert shown("canary_age_seconds", "s") < 5
        stop.set()
        await watching
        stop.clear()

        relay.set(wrong_pin=1)
        os.kill(child.process().pid, signal.SIGKILL)

        async def says_why() -> bool:
            failed, _ = await run_checks(checks)
            return "it ended: pin_refused" in failed.get("signer", "")

        async with asyncio.timeout(10):
            await until(says_why)
        assert "nothing answers" in await tells(worker)()
        watching = asyncio.create_task(watch({"s": admin.lines[0]}, stop))

        async def down() -> bool:
            return shown("up", "s") == 0.0

        async with asyncio.timeout(5):
            await until(down)
        stop.set()
        await watching


async def test_a_hung_call_is_named_before_the_process_ends(softhsm, relay):
    softhsm.init()
    behind = {"module": f'"{softhsm.directory / "relay.so"}"', "canary_every_s": 0.2, "hang_s": 4.0}
    async with kept_up(softhsm, **behind), softhsm.signer(timeout_s=0.5) as signer:
        await described(signer)
        relay.set(hang=1)

        async def hangs() -> bool:
            try:
                await described(signer)
            except SignerUnavailable as error:
                return "a call into its token has taken" in str(error)
            return False

        async with asyncio.timeout(4):
            await until(hangs)


async def test_one_of_two_signers_is_enough_and_the_other_is_named(softhsm, relay):
    softhsm.init()
    mirror = softhsm.mirror()
    sockets = softhsm.socket("signer"), mirror.socket("signer")
    async with kept_up(mirror), SignerClient(*sockets) as signer:
        words = await described(signer)
    assert re.fullmatch(r"away: nothing answers at .*; signs: epoch 1, .*", words)
    with pytest.raises(SignerUnavailable):
        await described(signer)


def test_a_canary_that_nobody_heard_for_long_is_an_ailment():
    assert ailing({"canary_age_s": 31.0}) == "its canary has not sung for 31 s"
    assert ailing({"canary_age_s": 3.0, "busy_s": 0.1}) == ""
    assert ailing({"closing": True}) == "it is ending"


async def test_idle_canary_age_stays_small(softhsm, relay):
    softhsm.init()
    behind = {"module": f'"{softhsm.directory / "relay.so"}"', "canary_every_s": 0.2}
    async with kept_up(softhsm, **behind, worker_threads=4), softhsm.signer() as signer:
        await asyncio.sleep(1.5)
        assert (await signer.status())["canary_age_s"] < 1.0
    assert relay.get("signatures") > 4
    assert control.SIZE == 4096
