"""The signer daemon's throughput over ten thousand accounts, beside the same signatures made in-process.

Everything that signs is real: a private SoftHSM, the daemon as a process, requests as an adapter sends
them, accounts of fifty tenants in random order, so that keys, owners and policies differ from one
request to the next. The rows are sealed with keys that the bench knows (hsm/drill.py): ten thousand
enrolments would take minutes, and no signature is faster by it. Every account's first signature is
compared with its secret's own.

The floor is `hmac` from the standard library over the same strings in this process: what it would cost
if there were no HSM, no policy and no socket.

`hsm_network_1500us_…` is the same behind a PKCS#11 module that lets each call that a network HSM would
carry over its wire wait 1.5 ms (loadtest/pkcs11), with the thirty-two sessions that such a one is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from hsm.client import SignerClient
from hsm.drill import LABEL, KnownTenant
from hsm.module import Module
from hsm.pins import make_pin
from hsm.policy import Request, text_to_sign
from hsm.token import Anchor
from ops.bench.measure import Effort, Measurement, Series, percentile
from ops.stack import softhsm
from tenancy.errors import ConfigurationError
from tenancy.ids import new_id

PATH = "/api/v4/futures/usdt/orders"
BODY = b'{"contract":"BTC_USDT","size":"12","price":"0","tif":"ioc","text":"t-0123456789abcdef"}'
CONCURRENT = 128
NETWORK_CONCURRENT = 512
NETWORK_US = 1500
NETWORK_THREADS = 32

RATE, P99, NETWORK = (
    "hsm_daemon_signatures_per_s", "hsm_daemon_p99_ms", "hsm_network_1500us_signatures_per_s",
)  # fmt: skip

Say = Callable[[str], None]


class Account(NamedTuple):
    tenant_id: UUID
    account_id: UUID
    sealed: bytes
    secret: bytes


async def run(effort: Effort, say: Say) -> list[Measurement]:
    """The three figures; floor: in-process hmac, in turns with them in the same run.

    Without a C compiler there is no token 1.5 ms away, and two figures.
    """
    tenants, accounts = (5, 100) if effort.quick else (50, 10_000)
    with tempfile.TemporaryDirectory(prefix="pc-bench-") as directory:
        vault = Path(directory)
        say(f"hsm: {accounts:,} accounts of {tenants} tenants in a token of their own")
        enrolled = make_token(vault, tenants, accounts)
        figures = await near(vault, enrolled, effort)
        relay = vault / "relay.so"
        try:
            relayed("build", "--out", str(vault), "--module", str(softhsm.module()))
        except ConfigurationError as error:
            say(f"hsm: {NETWORK} is left out: {error}")
            return figures
        say(f"hsm: the same behind {NETWORK_US / 1000:g} ms a call, {NETWORK_THREADS} sessions")
        return [*figures, *await far(vault, enrolled, effort, relay)]


async def near(vault: Path, enrolled: list[Account], effort: Effort) -> list[Measurement]:
    """The token in this machine, one thread at it, on one processor (`cpus`, docs/hsm/signer.md)."""
    series = Series({RATE: "1/s", P99: "ms"})
    own = max(os.sched_getaffinity(0))
    async with daemon(vault, softhsm.module(), "near", cpus=[own]) as signer:
        await warm(signer, enrolled, CONCURRENT)
        for _ in range(effort.runs):  # in turns: a bad minute of the machine falls on both
            floor = hmac_alone(enrolled, seconds_of(effort) / 3)
            rate, latencies = await measure(signer, enrolled, CONCURRENT, seconds_of(effort))
            series.floor(**{RATE: floor, P99: 1000 / floor})
            series.value(**{RATE: rate, P99: percentile(latencies, 99) * 1000})
    return series.measurements()


async def far(
    vault: Path, enrolled: list[Account], effort: Effort, relay: Path
) -> list[Measurement]:
    """The token a round trip away, many threads at it."""
    series = Series({NETWORK: "1/s"})
    async with daemon(vault, relay, "far", worker_threads=NETWORK_THREADS) as signer:
        await warm(signer, enrolled, CONCURRENT)
        relayed("set", str(relay), f"latency_us={NETWORK_US}")
        for _ in range(effort.runs):
            series.floor(**{NETWORK: hmac_alone(enrolled, seconds_of(effort) / 3)})
            rate, _ = await measure(signer, enrolled, NETWORK_CONCURRENT, seconds_of(effort))
            series.value(**{NETWORK: rate})
    return series.measurements()


def seconds_of(effort: Effort) -> float:
    """How long one run measures."""
    return 0.5 if effort.quick else 3.0


async def measure(
    signer: SignerClient, accounts: list[Account], concurrent: int, seconds: float
) -> tuple[float, list[float]]:
    """Signatures per second, and how long each took, in seconds."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        while (started := time.perf_counter()) < end:
            await sign(signer, chance.choice(accounts), int(time.time()))
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(caller(seed) for seed in range(concurrent)))
    return len(latencies) / (time.perf_counter() - started), latencies


async def sign(signer: SignerClient, account: Account, now: int) -> str:
    return await signer.sign_request(
        account.sealed, tenant_id=account.tenant_id, account_id=account.account_id,
        scheme="gateio", method="POST", path=PATH, query="", body=BODY, timestamp=now,
    )  # fmt: skip


async def warm(signer: SignerClient, accounts: list[Account], concurrent: int) -> None:
    """Every key loaded once, and every first signature compared with the secret's own."""
    waiting = iter(accounts)

    async def caller() -> None:
        for account in waiting:
            now = int(time.time())
            text = text_to_sign(Request("gateio", "POST", PATH, "", BODY, now))
            if (
                await sign(signer, account, now)
                != hmac.digest(account.secret, text, "sha512").hex()
            ):
                raise AssertionError("a signature is wrong: no figure is worth anything")

    await asyncio.gather(*(caller() for _ in range(concurrent)))


def hmac_alone(accounts: list[Account], seconds: float) -> float:
    """The same strings signed here, one after the other."""
    chance, count = random.Random(1), 0  # noqa: S311
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(100):
            text = text_to_sign(Request("gateio", "POST", PATH, "", BODY, int(time.time())))
            hmac.digest(chance.choice(accounts).secret, text, "sha512").hex()
        count += 100
    return count / (time.perf_counter() - started)


def make_token(vault: Path, tenants: int, accounts: int) -> list[Account]:
    """A sign token with the tenants' keys, and the accounts' rows."""
    conf = softhsm.create_store(vault)
    so_pin, pin = make_pin(vault / "so.pin"), make_pin(vault / "pin")
    module = Module.load(softhsm.module(), conf)
    session = module.init_token(LABEL, so_pin).open(rw=True, so_pin=so_pin)
    session.init_pin(pin)
    session.close()
    module.finalize()
    module = Module.load(softhsm.module(), conf)
    try:
        anchor = Anchor(module, LABEL, pin)
        known = [KnownTenant(new_id(), os.urandom(32), os.urandom(32)) for _ in range(tenants)]
        for tenant in known:
            tenant.put(anchor)
    finally:
        module.finalize()
    made = []
    for index in range(accounts):
        tenant, account_id, secret = known[index % tenants], new_id(), os.urandom(32).hex().encode()
        row = tenant.sealed(account_id, "gateio", secret)
        made.append(Account(tenant.tenant_id, account_id, row, secret))
    return made


def relayed(*words: str) -> None:
    """A command of loadtest/pkcs11. Raises ConfigurationError where it fails, as without a C compiler."""
    command = [sys.executable, "-m", "loadtest.pkcs11", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(done.stderr.strip())


@contextlib.asynccontextmanager
async def daemon(
    vault: Path, module: Path, name: str, *, worker_threads: int = 1, cpus: Sequence[int] = ()
) -> AsyncIterator[SignerClient]:
    """A signer of its own process, and a client at it. Rates are set beyond what can be reached."""
    config = vault / f"{name}.toml"
    config.write_text(
        f'module = "{module}"\ntoken_label = "{LABEL}"\npin_file = "{vault}/pin"\n'
        f'socket = "{vault}/{name}.sock"\nsofthsm_conf = "{vault}/softhsm2.conf"\n'
        f"worker_threads = {worker_threads}\ncpus = {list(cpus)}\n"
        "tenant_rate_per_s = 1e9\ntenant_burst = 1000000000\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hsm.signer", "--config", str(config),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with SignerClient(vault / f"{name}.sock", timeout_s=20) as signer:
            await signer.status()
            yield signer
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
