"""Nothing of this process's memory is written to a file, or read by another of the same user.

Called first thing by every process of ours: a core dump, or a debugger of a neighbour that was taken
over, would have whatever the process has, and no rule about logs would help. Of Linux only; root, and
who has CAP_SYS_PTRACE, can still look.
"""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Mapping

from tenancy.errors import ConfigurationError

PR_SET_DUMPABLE = 4

FREED_IS_OVERWRITTEN: Mapping[str, str] = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0",
}
"""The environment of a process in which a secret is for a moment: what is freed is overwritten, copies
of text included. Python's own allocator and glibc's cache per thread would both keep freed bytes as
they were."""


def harden() -> None:
    """No core dumps, no PR_SET_DUMPABLE; children inherit the first. Raises ConfigurationError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigurationError(
            "the kernel refuses PR_SET_DUMPABLE: core dumps cannot be ruled out"
        )
