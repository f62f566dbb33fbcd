"""Redis: is it there, may it forget what it must not, and is there room in it?"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread

SUBJECT = "Redis"
WITHIN_S = 2.0
SLOW_S = 0.05
PINGS = 5
"""The quickest counts: a busy host is no slow Redis."""


class Seen(NamedTuple):
    """`info`: None where it does not answer, `why` says it then."""

    info: dict[str, Any] | None
    ping_s: float = 0.0
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    return judge(
        await in_thread(look, ground.settings.redis.url), ours=_ours(ground), up=ground.is_up
    )


def _ours(ground: Ground) -> bool:
    return ground.settings.stack is not None and ground.settings.stack.redis


def look(url: str) -> Seen:
    try:
        with Redis.from_url(
            url, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S
        ) as client:
            took = min(_ping(client) for _ in range(PINGS))
            return Seen(dict(client.info()), took)
    except (RedisError, OSError, ValueError) as error:
        return Seen(None, why=f"{type(error).__name__}: {error}")


def _ping(client: Redis) -> float:
    began = time.perf_counter()
    client.ping()
    return time.perf_counter() - began


def judge(seen: Seen, *, ours: bool, up: bool) -> list[Finding]:
    if seen.info is None:
        return [_away(seen.why, ours=ours, up=up)]
    info = seen.info
    return [_answers(info, seen.ping_s), _policy(info), _room(info), _kept(info)]


def _away(why: str, *, ours: bool, up: bool) -> Finding:
    if ours and not up:
        then = "It is started with the rest: `portcullis up`."
        return Finding(SUBJECT, "reach", "unseen", "it is ours, and nothing runs", then)
    then = (
        "Nothing is lost meanwhile: the sweep finds all work, up to a second later, and each"
        " process"
        " keeps brokers' limits by its own share. Start it again; it may come back empty."
    )
    return Finding(SUBJECT, "reach", "wrong", why, then)


def _answers(info: dict[str, Any], ping_s: float) -> Finding:
    text = (
        f"version {info.get('redis_version')}, up {info.get('uptime_in_seconds')} s, "
        f"{ping_s * 1000:.2g} ms"
    )
    if info.get("role") not in (None, "master"):
        then = "Name the primary in [redis] url: a replica takes no writes."
        return Finding(SUBJECT, "reach", "wrong", f"it is a {info.get('role')}; {text}", then)
    if ping_s > SLOW_S:
        then = "`redis-cli --latency`, `SLOWLOG GET`: who else uses it? It should be ours alone."
        return Finding(SUBJECT, "reach", "warning", f"slow: {text}", then)
    return well(SUBJECT, "reach", text)


def _policy(info: dict[str, Any]) -> Finding:
    policy, evicted = info.get("maxmemory_policy"), int(info.get("evicted_keys") or 0)
    text = f"maxmemory-policy {policy}, {evicted} keys evicted"
    if policy != "noeviction" or evicted:
        then = (
            "`CONFIG SET maxmemory-policy noeviction`, and in its file: what counts towards "
            "brokers' and"
            " senders' limits must not be forgotten when memory is short."
        )
        return Finding(
            SUBJECT, "policy", "wrong" if policy != "noeviction" else "warning", text, then
        )
    return well(SUBJECT, "policy", text)


def _room(info: dict[str, Any]) -> Finding:
    used, most = int(info.get("used_memory") or 0), int(info.get("maxmemory") or 0)
    text = f"{used >> 20} MiB used of {f'{most >> 20} MiB' if most else 'whatever the host has'}"
    share = used / most if most else 0.0
    if share > 0.75:
        then = "Raise maxmemory; find out what grew: `redis-cli --bigkeys`."
        return Finding(SUBJECT, "memory", "wrong" if share > 0.9 else "warning", text, then)
    if not most:
        then = (
            "Set maxmemory (256mb is plenty): without, it may take the host's memory from the "
            "others."
        )
        return Finding(SUBJECT, "memory", "warning", text, then)
    return well(SUBJECT, "memory", text)


def _kept(info: dict[str, Any]) -> Finding:
    if info.get("rdb_last_bgsave_status") == "err" or info.get("aof_last_write_status") == "err":
        then = (
            "It refuses writes when it cannot save. We need nothing saved: `CONFIG SET save ''`,"
            " appendonly no."
        )
        return Finding(SUBJECT, "persistence", "wrong", "its last save failed", then)
    kept = "appends to a file" if info.get("aof_enabled") else "keeps nothing that we would need"
    return well(SUBJECT, "persistence", f"{kept}; none is needed")
