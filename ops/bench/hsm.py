"""The signer daemon's throughput, beside the floor of the same signatures made in-process.

Everything is real: a private SoftHSM, the ceremony, the daemons as processes, requests as an
adapter sends them, a few hundred accounts in random order. The floor is `hmac` from the standard
library over the same strings in this process: what it would cost if there were no HSM, no policy
and no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

from hsm import ceremony
from hsm.client import EnrollerClient, SignerClient
from hsm.enrol import encrypt_key
from hsm.policy import Request, text_to_sign
from hsm.settings import TokenSettings
from tenancy.errors import ConfigurationError
from tenancy.ids import new_id

PATH = "/api/v4/futures/usdt/orders"
BODY = b'{"contract":"BTC_USDT","size":"12","price":"0","tif":"ioc","text":"t-0123456789abcdef"}'


class Account(NamedTuple):
    account_id: UUID
    sealed: bytes
    secret: bytes


async def run(
    *, accounts: int = 200, concurrent: int = 128, seconds: float = 3.0, runs: int = 3
) -> list[dict[str, Any]]:
    """`hsm_daemon_signatures_per_s` and `hsm_daemon_p99_ms`; floor: in-process hmac, same run."""
    with tempfile.TemporaryDirectory(prefix="pc-bench-") as directory:
        vault = Path(directory)
        tenant_id = new_id()
        async with _daemons(vault, tenant_id):
            enrolled = await _enrol(vault, tenant_id, accounts)
            async with SignerClient(vault / "signer.sock", timeout_s=10) as signer:
                await _warm(signer, tenant_id, enrolled)
                results, floors = [], []
                for _ in range(runs):  # in turns: a bad minute of the machine falls on both
                    floors.append(_floor(enrolled, seconds / 3))
                    results.append(await _measure(signer, tenant_id, enrolled, concurrent, seconds))
    rates, p99s = [one[0] for one in results], [one[1] for one in results]
    floor = median(floors)
    return [
        _row("hsm_daemon_signatures_per_s", median(rates), "1/s", floor, rates),
        _row("hsm_daemon_p99_ms", median(p99s), "ms", 1000 / floor, p99s),
    ]


def _row(name: str, value: float, unit: str, floor: float, runs: list[float]) -> dict[str, Any]:
    return {
        "name": name, "value": value, "unit": unit, "floor": floor,
        "ratio": value / floor, "runs": runs,
    }  # fmt: skip


async def _measure(
    signer: SignerClient, tenant_id: UUID, accounts: list[Account], concurrent: int, seconds: float
) -> tuple[float, float]:
    """Signatures per second, and the 99th percentile of one in milliseconds."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        while (started := time.perf_counter()) < end:
            await _sign(signer, tenant_id, chance.choice(accounts))
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(caller(seed) for seed in range(concurrent)))
    rate = len(latencies) / (time.perf_counter() - started)
    return rate, sorted(latencies)[len(latencies) * 99 // 100] * 1000


async def _sign(signer: SignerClient, tenant_id: UUID, account: Account) -> str:
    return await signer.sign_request(
        account.sealed, tenant_id=tenant_id, account_id=account.account_id, scheme="gateio",
        method="POST", path=PATH, query="", body=BODY, timestamp=int(time.time()),
    )  # fmt: skip


async def _warm(signer: SignerClient, tenant_id: UUID, accounts: list[Account]) -> None:
    """Every key loaded once, and every first signature compared with the secret's own."""
    for account in accounts:
        now = int(time.time())
        got = await signer.sign_request(
            account.sealed, tenant_id=tenant_id, account_id=account.account_id, scheme="gateio",
            method="POST", path=PATH, query="", body=BODY, timestamp=now,
        )  # fmt: skip
        text = text_to_sign(Request("gateio", "POST", PATH, "", BODY, now))
        if got != hmac.digest(account.secret, text, "sha512").hex():
            raise AssertionError("a signature is wrong: no figure is worth anything")


def _floor(accounts: list[Account], seconds: float) -> float:
    """The same strings signed here, one after the other."""
    chance, count = random.Random(1), 0  # noqa: S311
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(100):
            text = text_to_sign(Request("gateio", "POST", PATH, "", BODY, int(time.time())))
            hmac.digest(chance.choice(accounts).secret, text, "sha512").hex()
        count += 100
    return count / (time.perf_counter() - started)


async def _enrol(vault: Path, tenant_id: UUID, count: int) -> list[Account]:
    async with EnrollerClient(vault / "enroller.sock", timeout_s=10) as enroller:
        pem = await enroller.public_key_pem()
        accounts = []
        for _ in range(count):
            account_id, secret = new_id(), os.urandom(32).hex().encode()
            sealed = await enroller.seal_key(
                tenant_id, account_id, "gateio", encrypt_key(pem, secret)
            )
            accounts.append(Account(account_id, sealed, secret))
        return accounts


@contextlib.asynccontextmanager
async def _daemons(vault: Path, tenant_id: UUID) -> AsyncIterator[None]:
    settings = _settings(vault)
    ceremony.init_tokens(settings)
    ceremony.create_tenant_keys(settings, tenant_id)
    processes = []
    try:
        for name, label, pin in (
            ("signer", settings.sign_label, settings.sign_pin_file),
            ("enroller", settings.enrol_label, settings.enrol_pin_file),
        ):
            config = vault / f"{name}.toml"
            config.write_text(
                f'module = "{settings.module}"\ntoken_label = "{label}"\npin_file = "{pin}"\n'
                f'socket = "{vault}/{name}.sock"\nsofthsm_conf = "{settings.softhsm_conf}"\n'
                "tenant_rate_per_s = 1000000.0\ntenant_burst = 1000000\n"
            )
            processes.append(
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    f"hsm.{name}",
                    "--config",
                    str(config),
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            )
        async with SignerClient(vault / "signer.sock", timeout_s=20) as signer:
            await signer.status()
        async with EnrollerClient(vault / "enroller.sock", timeout_s=20) as enroller:
            await enroller.status()
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _settings(vault: Path) -> TokenSettings:
    (vault / "tokens").mkdir()
    conf = vault / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {vault}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    return TokenSettings(
        module=_library(), softhsm_conf=conf,
        enrol_pin_file=vault / "enrol.pin", enrol_so_pin_file=vault / "enrol-so.pin",
        sign_pin_file=vault / "sign.pin", sign_so_pin_file=vault / "sign-so.pin",
    )  # fmt: skip


def _candidates() -> Iterator[Path]:
    yield Path("/usr/lib/softhsm/libsofthsm2.so")
    yield from Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")


def _library() -> Path:
    for path in _candidates():
        if path.is_file():
            return path
    raise ConfigurationError("SoftHSM is not installed: apt install softhsm2")
