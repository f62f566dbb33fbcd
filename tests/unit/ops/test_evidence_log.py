"""The audit log's part of the evidence: a proof that it only grew, or in plain words that it did not."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from audit.checkpoint import open_checkpoint
from audit.merkle import verify_consistency
from audit.note import parse_keys
from ops.evidence.audit_log import files_of, log_files
from ops.evidence.collection import File, Gap
from tests.fakes.log_files import LogFiles


def taken(log: LogFiles, older: bytes | None) -> tuple[dict[str, File], list[Gap]]:
    log_id = log.log.log_id
    found = log_files(log.directory, log_id, {} if older is None else {log_id: older})
    files = {one.name.rpartition("/")[2]: one for one in found if isinstance(one, File)}
    return files, [one for one in found if isinstance(one, Gap)]


def test_a_stranger_can_check_that_the_log_only_grew(tmp_path: Path) -> None:
    """From the file alone, with the log's key: RFC 6962, 2.1.2."""
    log = LogFiles(tmp_path)
    older = log.grow(300)
    log.grow(400)
    files, gaps = taken(log, older)
    assert gaps == []
    said = json.loads(files["consistency.json"].content)
    keys = parse_keys(bytes(files["vkey"].content).decode())  # type: ignore[arg-type]
    old = open_checkpoint(said["from_note"].encode(), *keys)
    new = open_checkpoint(said["to_note"].encode(), *keys)
    proof = [base64.b64decode(one) for one in said["proof"]]
    assert (old.size, new.size) == (300, 700)
    assert verify_consistency(old.size, new.size, old.root, new.root, proof)


def test_the_signed_head_goes_in_byte_for_byte(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    note = log.grow(5)
    files, _ = taken(log, note)
    assert files["checkpoint"].content == note
    assert files["checkpoint"].exact
    assert files["consistency.json"].exact


def test_another_history_than_the_one_that_was_signed_is_said_in_plain_words(
    tmp_path: Path,
) -> None:
    """The same key signed both: the database's head is not in what is published."""
    before = LogFiles(tmp_path / "before").grow(300)
    log = LogFiles(tmp_path / "now")
    log.grow(700, "another")
    files, (gap,) = taken(log, before)
    assert "consistency.json" not in files
    assert "IT DOES NOT HOLD" in gap.why
    assert "checkpoint" in files


def test_a_log_that_shrank_is_said(tmp_path: Path) -> None:
    before = LogFiles(tmp_path / "before").grow(700)
    log = LogFiles(tmp_path / "now")
    log.grow(300)
    _, (gap,) = taken(log, before)
    assert "the database signed 700 records, 300 are published" in gap.why


def test_a_head_that_nobody_signed_is_no_proof(tmp_path: Path) -> None:
    forged = LogFiles(tmp_path / "forged", seed=9).grow(3)
    log = LogFiles(tmp_path / "now")
    log.grow(5)
    _, (gap,) = taken(log, forged)
    assert "IT DOES NOT HOLD" in gap.why


def test_where_no_older_head_is_known_the_published_one_is_taken_alone(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    log.grow(5)
    files, gaps = taken(log, None)
    assert (set(files), gaps) == ({"checkpoint", "vkey"}, [])


def test_every_file_of_a_store_is_listed_with_its_flag(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    log.grow(300)
    listed = {one["name"]: one for one in files_of(tmp_path, [log.log.log_id])}
    full = listed[f"{log.log.log_id}/tile/entries/000"]
    assert full["bytes"] > 0
    assert full["immutable"] in (False, None)
