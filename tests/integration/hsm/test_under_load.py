"""What happens to a token, a daemon or an HSM while sixty-four callers sign: time passes, nothing else.

Every signature that a caller gets is compared with the plain secret's (load.py): one wrong one fails
the test. The faults are the relay's, in front of a real SoftHSM; the daemon is kept up by the
product's own supervisor.
"""

import asyncio
import os
import signal

import pytest

from hsm.client import SignerClient
from hsm.errors import SignerUnavailable
from loadtest.pkcs11 import control
from tests.fixtures.softhsm import SoftHSM
from tests.integration.hsm.load import enrolled, kept_up, load, until

FAULTY = {"hang_s": 0.5, "canary_every_s": 0.5}


@pytest.fixture
async def accounts(softhsm: SoftHSM, relay: control.Control):
    softhsm.init()
    softhsm.start("enroller")
    made = await enrolled(softhsm, tenants=4, accounts=16)
    softhsm.stop("enroller")
    return made


def behind(softhsm: SoftHSM, **more: object) -> dict[str, object]:
    return {"module": f'"{softhsm.directory / "relay.so"}"', **FAULTY, **more}


async def until_ended(softhsm: SoftHSM, words: str, within_s: float = 10.0) -> None:
    """The daemon's log says so."""

    async def said() -> bool:
        return words in softhsm.log("signer")

    async with asyncio.timeout(within_s):
        await until(said)


@pytest.mark.parametrize(
    "fault", [control.DEVICE_REMOVED, control.TOKEN_NOT_PRESENT, control.SESSION_HANDLE_INVALID]
)
async def test_a_token_that_is_removed_costs_time_until_it_is_back(softhsm, relay, accounts, fault):
    async with kept_up(softhsm, **behind(softhsm)), softhsm.signer(timeout_s=20) as signer:
        async with load(signer, accounts) as running:
            await running.some_more()
            relay.set(removed=fault)
            await until_ended(softhsm, "hsm_lost")
            before = running.right
            await asyncio.sleep(
                0.7
            )  # absent at each start meanwhile: looked for again, no PIN tried
            assert running.right == before
            relay.well()
            await running.some_more()
        assert running.failed == {}
        assert (await signer.status())["epoch"] > 1


async def test_handles_that_mean_other_keys_sign_nothing(softhsm, relay, accounts):
    """The library was initialised anew under the daemon: each handle is another tenant's key now."""
    async with kept_up(softhsm, **behind(softhsm)), softhsm.signer(timeout_s=20) as signer:
        async with load(signer, accounts) as running:
            for _ in range(3):
                await running.some_more()
                relay.reissue()
            await running.some_more()
        assert running.failed == {}
        assert softhsm.log("signer").count("sang with another key") == 3


async def test_a_token_that_is_made_anew_gives_old_rows_no_signature(softhsm, relay, accounts):
    """Its keys are gone. What the daemon still holds signs rightly; after a restart nothing signs,
    and the PIN that is refused then is tried once."""
    async with kept_up(softhsm, **behind(softhsm)) as child, softhsm.signer(timeout_s=1) as signer:
        async with load(signer, accounts) as running:
            await running.some_more()
            softhsm.remake("sign")
            await asyncio.sleep(0.3)
            os.kill(child.process().pid, signal.SIGKILL)
            await until_ended(softhsm, "hsm_daemon_failed")
            before = running.right
            await asyncio.sleep(0.5)
            assert running.right == before
        with pytest.raises(SignerUnavailable, match="pin_refused"):
            await signer.status()
        assert softhsm.log("signer").count("pin_refused") == 1


async def test_a_pin_that_is_wrong_is_tried_once_and_the_state_says_so(softhsm, relay, accounts):
    """Whoever asks is told within his time-out, and why; a person puts the PIN right and starts."""
    async with (
        kept_up(softhsm, **behind(softhsm)) as child,
        softhsm.signer(timeout_s=1) as signer,
        load(signer, accounts) as running,
    ):
        await running.some_more()
        relay.set(wrong_pin=1)
        os.kill(child.process().pid, signal.SIGKILL)
        await until_ended(softhsm, "pin_refused")
        await asyncio.sleep(1.5)
        assert relay.get("faults") == 1, "the PIN was tried again"
        assert set(running.failed) == {"signer_unavailable"}
        with pytest.raises(SignerUnavailable, match="it ended: pin_refused"):
            await signer.status()
    relay.well()
    async with kept_up(softhsm, **behind(softhsm)), softhsm.signer(timeout_s=5) as signer:
        async with load(signer, accounts) as running:
            await running.some_more()
        assert running.failed == {}


async def test_a_call_that_hangs_ends_the_process_and_is_asked_again(softhsm, relay, accounts):
    async with kept_up(softhsm, **behind(softhsm)), softhsm.signer(timeout_s=20) as signer:
        async with load(signer, accounts) as running:
            for _ in range(2):
                await running.some_more()
                relay.set(hang=1)
                await running.some_more()
        assert running.failed == {}
        assert softhsm.log("signer").count("hsm_call_hung") == 2
        assert (await signer.status())["epoch"] == 3


async def test_a_signer_that_is_killed_is_asked_again(softhsm, relay, accounts):
    async with kept_up(softhsm, **behind(softhsm)) as child, softhsm.signer(timeout_s=20) as signer:
        async with load(signer, accounts) as running:
            for _ in range(3):
                await running.some_more()
                os.kill(child.process().pid, signal.SIGKILL)
            await running.some_more()
        assert running.failed == {}


async def test_errors_now_and_then_refuse_single_requests_and_sign_nothing_wrong(
    softhsm, relay, accounts
):
    """One call in two hundred fails: the request's own, or the canary's, which ends the process."""
    async with kept_up(softhsm, **behind(softhsm)), softhsm.signer(timeout_s=20) as signer:
        async with load(signer, accounts) as running:
            await running.some_more()
            relay.set(error_one_in=200)
            await running.some_more(5000)
            relay.well()
            await running.some_more()
        assert set(running.failed) <= {"token_refused", "seal_broken"}
        assert relay.get("faults") > 0


async def test_an_idle_token_that_is_removed_is_noticed(softhsm, relay, accounts):
    """Nobody signs: the canary sings now and then all the same."""
    async with kept_up(softhsm, **behind(softhsm)), softhsm.signer() as signer:
        await signer.status()
        relay.set(removed=control.DEVICE_REMOVED)
        await until_ended(softhsm, "hsm_lost")


@pytest.mark.parametrize("how", ["killed", "hung", "removed"])
async def test_one_of_two_hsms_gone_is_not_waited_for(softhsm, relay, accounts, how):
    """The same keys in both: the second signs at once, and the first is preferred when it is back."""
    mirror = softhsm.mirror()
    first, second = softhsm.socket("signer"), mirror.socket("signer")
    async with (
        kept_up(softhsm, **behind(softhsm, hang_s=2.0)) as child,
        kept_up(mirror),
        SignerClient(first, second, timeout_s=20) as signer,
        SignerClient(second) as other,
    ):
        async with load(signer, accounts) as running:
            await running.some_more()
            await running.some_more(5000)
            at_first = (await other.status())["answered"]
            assert at_first <= 64  # the very first requests take whoever is connected first
            if how == "killed":
                os.kill(child.process().pid, signal.SIGKILL)
            else:
                relay.set(**({"hang": 1} if how == "hung" else {"removed": control.DEVICE_REMOVED}))
            await running.some_more(5000)
            assert (
                running.slowest_s < 1.5
            )  # the supervisor's clean one takes longer than that to hang
            assert (await other.status())["answered"] > at_first
            relay.well()

            async def is_preferred_again() -> bool:
                return (await signer.status())["pid"] != (await other.status())["pid"]

            async with asyncio.timeout(20):
                await until(is_preferred_again)
            before = (await other.status())["answered"]
            await running.some_more(5000)
            assert (await other.status())["answered"] - before < 200
        assert running.failed == {}
