"""How much may wait and how much may be asked: who is turned away, and that waiting is enough."""

import asyncio
import time

from hsm.errors import SigningRate
from tests.integration.hsm.test_daemons import Tenant


async def test_a_full_queue_says_busy_and_asking_again_loses_nothing(softhsm):
    softhsm.init()
    softhsm.start("signer", queue_max=4)
    softhsm.start("enroller")
    tenant = Tenant(softhsm)
    sealed = await tenant.enrol()
    request = tenant.request()
    right = tenant.expected(request)

    async def all_at_once(signer):
        return await asyncio.gather(
            *(signer.sign_request(sealed, **request) for _ in range(200)), return_exceptions=True
        )

    async with softhsm.signer(timeout_s=10) as patient:
        assert set(await all_at_once(patient)) == {right}
        assert (await patient.status())["busy"] > 0
    async with softhsm.signer(timeout_s=0.02) as hasty:
        answers = [answer for answer in await all_at_once(hasty) if answer != right]
        assert answers
        assert {type(answer).__name__ for answer in answers} <= {"SignerBusy", "SignerUnavailable"}


async def test_a_rate_that_is_used_up_refuses_that_tenant_alone(softhsm):
    """And whoever waits gets his signature when the rate allows it."""
    softhsm.init()
    softhsm.start("signer", tenant_rate_per_s=20.0, tenant_burst=10)
    softhsm.start("enroller")
    fast, calm = Tenant(softhsm, b"fast"), Tenant(softhsm, b"calm")
    rows = await fast.enrol(), await calm.enrol()
    async with softhsm.signer(timeout_s=5) as patient, softhsm.signer(timeout_s=0.5) as hasty:
        await patient.status()
        await hasty.status()
        request, theirs = fast.request(), calm.request()
        answers = await asyncio.gather(
            *(hasty.sign_request(rows[0], **request) for _ in range(30)), return_exceptions=True
        )
        assert [a for a in answers if a == fast.expected(request)]
        assert {type(a) for a in answers if a != fast.expected(request)} == {SigningRate}
        assert await hasty.sign_request(rows[1], **theirs) == calm.expected(theirs)
        started = time.monotonic()
        answers = await asyncio.gather(
            *(patient.sign_request(rows[0], **request) for _ in range(10))
        )
        assert set(answers) == {fast.expected(request)}
        assert time.monotonic() - started > 0.4  # ten more at twenty a second
