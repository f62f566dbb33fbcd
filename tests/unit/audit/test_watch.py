"""A monitor that sees a log grow, shrink, fork or change, and misses the record that it was promised."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit import watch
from audit.note import parse_keys
from audit.receipts import Receipt
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED
from audit.watch import State, Unreachable, look, read_state, reader_of, write_state
from ops.cli.audit import audit
from tests.fakes.audit_log import KEY, leaves, write_log

LEAVES = leaves(700)
KEYS = parse_keys(str(KEY))
AT = 10**18


def seen(directory: Path, state: State, *receipts: Receipt, now_ns: int = AT) -> tuple:
    held = [(str(one), one.ts_ns, one.pc.hex()) for one in receipts]
    return look(reader_of(str(directory)), KEYS, state, held, now_ns=now_ns, merge_delay_s=60.0)


def receipt(index: int) -> Receipt:
    return Receipt(AT + index, index.to_bytes(32, "big"))


@pytest.fixture
def followed(tmp_path: Path) -> tuple[Path, State]:
    """A log of 300 records that has been looked at."""
    log = tmp_path / "log"
    write_log(log, LEAVES[:300])
    verdict, state = seen(log, State())
    assert (verdict.code, state.size) == (OK, 300)
    return log, state


@pytest.mark.parametrize("size", [300, 301, 512, 513, 700])
def test_a_log_that_grows_is_followed_and_every_new_entry_is_looked_at(followed, size: int):
    log, state = followed
    write_log(log, LEAVES[:size])
    verdict, after = seen(log, state, receipt(size - 1))
    assert (verdict.code, after.size) == (OK, size)
    assert after.found == ({str(receipt(size - 1)): size - 1} if size > 300 else {})


@pytest.mark.parametrize("size", [1, 255, 256, 257])
def test_the_first_look_proves_the_log_from_its_beginning(tmp_path: Path, size: int):
    write_log(tmp_path, LEAVES[:size])
    verdict, state = seen(tmp_path, State(), receipt(0))
    assert (verdict.code, state.size, state.found) == (OK, size, {str(receipt(0)): 0})


def test_a_log_that_has_shrunk_is_inconsistent_and_the_state_stays(followed):
    log, state = followed
    write_log(log, LEAVES[:299])
    verdict, after = seen(log, state)
    assert (verdict.code, after) == (INCONSISTENT, state)


@pytest.mark.parametrize("size", [300, 400])
def test_a_fork_is_inconsistent_however_long_it_is(followed, tmp_path: Path, size: int):
    _, state = followed
    other = [*LEAVES[:17], *leaves(size, orders=5)[17:]]
    write_log(tmp_path / "other", other)
    verdict, after = seen(tmp_path / "other", state)
    assert (verdict.code, after) == (INCONSISTENT, state)


def test_an_entry_that_is_not_what_was_signed_is_tampered(followed):
    log, state = followed
    write_log(log, LEAVES[:400])
    path = log / "tile" / "entries" / "001.p" / "144"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    verdict, after = seen(log, state)
    assert (verdict.code, after) == (TAMPERED, state)


def test_narrow_tiles_that_are_gone_by_now_are_not_missed(followed):
    log, state = followed
    write_log(log, LEAVES[:400])
    for narrow in (log / "tile").rglob("*.p/44"):
        narrow.unlink()
    assert seen(log, state)[0].code == OK


def test_a_receipt_whose_record_does_not_come_is_told_after_the_delay_and_not_before(followed):
    log, state = followed
    promised = Receipt(AT, b"\xff" * 32)
    assert seen(log, state, promised, now_ns=AT + 59 * 10**9)[0].code == OK
    verdict, after = seen(log, state, promised, now_ns=AT + 61 * 10**9)
    assert verdict.code == INCOMPLETE
    assert str(promised) in verdict.findings[0].what
    assert after.size == 300  # what was proven stays proven


def test_a_found_receipt_is_not_looked_for_again(followed, tmp_path: Path):
    log, state = followed
    write_log(log, LEAVES[:400])
    _, state = seen(log, state, receipt(350))
    write_state(tmp_path / "state", state)
    verdict, _ = seen(log, read_state(tmp_path / "state"), receipt(350), now_ns=AT + 10**12)
    assert verdict.code == OK


def test_a_log_that_cannot_be_read_is_neither_right_nor_wrong(followed, tmp_path: Path):
    log, state = followed
    with pytest.raises(Unreachable):
        seen(tmp_path / "nowhere", state)
    write_log(log, LEAVES[:600])
    shutil.rmtree(log / "tile" / "entries")
    with pytest.raises(Unreachable):
        seen(log, state)


def test_the_command_says_by_its_status_what_it_found_and_keeps_the_evidence(tmp_path: Path):
    log, state = tmp_path / "log", tmp_path / "state"
    write_log(log, LEAVES[:300])
    (tmp_path / "key").write_text(str(KEY))
    (tmp_path / "receipts").write_text(f"{receipt(5)}\n")
    given = [
        "watch", str(log), "--vkey-file", str(tmp_path / "key"), "--state", str(state),
        "--receipts", str(tmp_path / "receipts"),
    ]  # fmt: skip
    assert CliRunner().invoke(audit, given).exit_code == OK
    assert read_state(state).found == {str(receipt(5)): 5}
    write_log(log, LEAVES[:299])
    assert CliRunner().invoke(audit, given).exit_code == INCONSISTENT
    assert b"\n---\n" in (tmp_path / "state.evidence").read_bytes()
    shutil.rmtree(log)
    assert CliRunner().invoke(audit, given).exit_code == watch.UNREACHABLE
