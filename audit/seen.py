"""Checkpoints that somebody else kept, as files: what a restored database cannot know of its own logs.

Beside the first store `DIR` lies `DIR-seen/<who>/<log id>/checkpoint`: another host's set, a monitor's state, what
a witness or a customer has. playbooks/restore.yml puts there what each host still had; people add what they are
shown. No file there: nothing is asked. None is ever removed or changed by the product.

The recorder asks before the first signature of a run, as it asks further stores (audit/keeping.py): a log of
which anybody has seen more is not signed. A file that none of the log's keys has signed proves nothing and stops
nothing.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.integrator import CHECKPOINT
from audit.logs import Log
from audit.malformed import Malformed
from audit.ports import LogHalted

log_event = structlog.get_logger()


def directory_of(store: Path) -> Path:
    """Where what was seen of the logs of `store` lies, if anything was."""
    return store.with_name(f"{store.name}-seen")


def read_seen(store: Path, log: Log) -> list[Checkpoint]:
    """What is there of the log, signatures checked. Raises LogHalted: what cannot be read may say more."""
    seen = []
    for note in _notes(directory_of(store), log):
        try:
            seen.append(open_checkpoint(note.read_bytes(), *log.known))
        except (FileNotFoundError, NotADirectoryError):
            continue  # whoever it is has seen nothing of this log
        except OSError as error:
            raise _unreadable(log, error) from error
        except Malformed as error:
            log_event.warning("audit_seen_is_no_checkpoint", path=str(note), why=str(error))
    return seen


def _notes(directory: Path, log: Log) -> list[Path]:
    try:
        return [who / str(log.log_id) / CHECKPOINT for who in sorted(directory.iterdir())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(log, error) from error


def _unreadable(log: Log, error: OSError) -> LogHalted:
    return LogHalted(f"log {log.log_id}: what was seen of it: {error}")
