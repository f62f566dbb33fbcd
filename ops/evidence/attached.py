"""What others said of this host, put beside what we ask: files that whoever collects brought, masked as all are.

Programs that are not ours (Patroni, etcd, HAProxy, the journal) are asked by whoever knows them, as
ansible/playbooks/collect-support.yml does. Going through here, what they said is searched for secrets, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from ops.doctor.looking import in_thread
from ops.evidence.archive import LARGEST_BYTES
from ops.evidence.collection import File, Gap, Wish


async def attached(wish: Wish) -> AsyncIterator[File | Gap]:
    """Each file of the directory that was named; nothing where none was."""
    if wish.attached is None:
        return
    for path in sorted(wish.attached.iterdir()):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            yield Gap(f"attached/{path.name}", "it is no plain file, or too large")
            continue
        yield File(f"attached/{path.name}", await in_thread(path.read_bytes), str(path))
