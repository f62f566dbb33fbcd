"""The audit log's further sets: is the directory there, and can the bucket keep what is put into it?

Asked without writing anything. That every file stands under its COMPLIANCE lock for as long as it shall, the
recorder reads back file by file (audit/worm/s3.py); a bucket without versions or Object Lock could give none.
"""

from __future__ import annotations

from typing import NamedTuple

from audit.worm.s3_wire import Refused
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread
from ops.settings import DirectoryStore, S3StoreSettings
from ops.stores import bucket_of
from tenancy.clock import SystemClock
from tenancy.errors import PortcullisError

SUBJECT = "audit stores"
VERSIONS = b"<Status>Enabled</Status>"
LOCK = b"<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
MADE_SO = "A bucket has to be made so (docs/operating/worm.md, Buckets): name another one."


class Seen(NamedTuple):
    """What the bucket says of its versions and of Object Lock. `why`: it was not asked, or refused to say."""

    versions: bytes = b""
    lock: bytes = b""
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    recorder = ground.settings.recorder
    found = []
    for one in recorder.stores:
        if isinstance(one, DirectoryStore):
            found.append(directory(one))
        else:
            found.append(judge(one.name, await in_thread(look, one), recorder.retain_days))
    return found


def look(one: S3StoreSettings) -> Seen:
    try:
        bucket = bucket_of(one, SystemClock())
        try:
            return Seen(
                bucket.ask("GET", query={"versioning": ""}).body,
                bucket.ask("GET", query={"object-lock": ""}).body,
            )
        finally:
            bucket.close()
    except Refused as error:
        if error.status == 404:  # S3's word for a bucket that never had Object Lock
            return Seen()
        return Seen(why=str(error))
    except (OSError, PortcullisError) as error:
        return Seen(why=str(error))


def judge(name: str, seen: Seen, retain_days: int) -> Finding:
    if seen.why:
        then = "Does the recorder's host reach it, and may our key ask (docs/operating/worm.md, Buckets)?"
        return Finding(SUBJECT, name, "wrong", seen.why, then)
    if VERSIONS not in seen.versions:
        return Finding(SUBJECT, name, "wrong", "the bucket keeps no versions", MADE_SO)
    if LOCK not in seen.lock:
        return Finding(SUBJECT, name, "wrong", "the bucket has no Object Lock", MADE_SO)
    return well(
        SUBJECT, name, f"versions and Object Lock; each file is locked for {retain_days} days"
    )


def directory(one: DirectoryStore) -> Finding:
    if not one.path.is_dir():
        then = "Mount its disk. Nothing is made in its place: a disk that is not mounted is not imitated."
        return Finding(SUBJECT, one.name, "wrong", f"{one.path} is not there", then)
    return well(SUBJECT, one.name, str(one.path))
