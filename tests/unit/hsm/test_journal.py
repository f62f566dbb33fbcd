"""The journal of refusals: numbered, whole lines, on the disk before anybody is told; never a secret."""

import time
from uuid import uuid4

import pytest

from hsm import journal, protocol
from hsm.errors import JournalFailed, SealBroken, SigningRefused
from hsm.journal import Journal, next_epoch
from hsm.refusals import GAP, KEPT_BURST, TEXT_MOST, Budget, gap, line_of, read_line, refused
from tenancy.errors import ConfigurationError


def some(start: int, count: int):
    return [gap(seq=n, ts_ns=n, missed={"x": n}) for n in range(start, start + count)]


def request(**more) -> protocol.SignRequest:
    given = {
        "id": 1, "name": b"n" * 16, "sealed": b"a sealed row", "tenant_id": uuid4(),
        "account_id": uuid4(), "scheme": "gateio", "method": "POST", "path": "/api/v4/withdrawals",
        "query": "address=mine", "body": b'{"amount":"1000000"}', "timestamp": 1, **more,
    }  # fmt: skip
    return protocol.SignRequest(**given)


def test_what_is_appended_is_read_in_order_and_after_a_restart(tmp_path):
    first = Journal(tmp_path)
    first.append(some(1, 3))
    first.append(some(4, 2))
    assert [one.seq for one in first.read(0, 10)] == [1, 2, 3, 4, 5]
    assert [one.seq for one in first.read(2, 2)] == [3, 4]
    name = first.id
    first.close()
    second = Journal(tmp_path)
    assert (second.last, second.id) == (5, name)
    second.append(some(6, 1))
    assert [one.seq for one in second.read(4, 10)] == [5, 6]
    second.close()


def test_a_torn_line_is_cut_off_and_its_number_given_again(tmp_path):
    """Nobody was told of it: the flush had not come back."""
    first = Journal(tmp_path)
    first.append(some(1, 2))
    first.close()
    (path,) = (tmp_path / "refusals").iterdir()
    path.write_bytes(path.read_bytes() + b'{"seq":3,"ts_')
    second = Journal(tmp_path)
    assert second.last == 2
    second.append(some(3, 1))
    assert [one.seq for one in second.read(0, 10)] == [1, 2, 3]
    second.close()


def test_files_are_bounded_and_lines_that_went_are_seen_by_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FILE_BYTES", 1000)
    monkeypatch.setattr(journal, "FILES_MOST", 3)
    kept = Journal(tmp_path)
    for start in range(1, 200, 5):
        kept.append(some(start, 5))
    assert len(list((tmp_path / "refusals").iterdir())) == 3
    found = kept.read(0, 1000)
    assert found[0].seq > 1
    assert [one.seq for one in found] == list(range(found[0].seq, 201))
    kept.close()
    again = Journal(tmp_path)
    assert again.last == 200
    assert [one.seq for one in again.read(198, 10)] == [199, 200]
    again.close()


def test_a_journal_that_was_written_over_is_not_gone_on_with(tmp_path):
    kept = Journal(tmp_path)
    kept.append(some(1, 2))
    kept.close()
    (path,) = (tmp_path / "refusals").iterdir()
    path.write_bytes(b"nonsense\n")
    with pytest.raises(JournalFailed, match="damaged"):
        Journal(tmp_path)


def test_two_daemons_do_not_share_a_journal(tmp_path):
    kept = Journal(tmp_path)
    with pytest.raises(ConfigurationError, match="another daemon"):
        Journal(tmp_path)
    kept.close()


def test_each_start_is_an_epoch_of_its_own(tmp_path):
    assert [next_epoch(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "epoch").write_text("one more")
    with pytest.raises(ConfigurationError, match="no number"):
        next_epoch(tmp_path)


def test_a_refusal_says_what_was_asked_and_shows_no_query_body_or_row():
    asked = request()
    line = line_of(refused(asked, SigningRefused("no"), None, seq=1, ts_ns=5, missed={}))
    assert b"POST /api/v4/withdrawals" in line
    assert str(asked.tenant_id).encode() in line
    for hidden in (b"address", b"1000000", b"a sealed row"):
        assert hidden not in line
    assert read_line(line).body_sha256 is not None


def test_a_secret_that_is_opened_wrongly_is_not_in_its_refusal():
    asked = protocol.OpenSecret(1, b"the row of a secret", uuid4(), "subject")
    line = line_of(refused(asked, SealBroken("no"), uuid4(), seq=1, ts_ns=5, missed={}))
    assert b"the row of" not in line


def test_what_an_attacker_writes_stays_one_short_line():
    path = "/\n\0" + "\U0001f4a9" * 3000
    one = refused(request(path=path), SigningRefused(path), None, seq=1, ts_ns=5, missed={})
    line = line_of(one)
    assert b"\n" not in line
    assert len(line) < 2000
    assert len(one.what) <= TEXT_MOST
    assert one.what.isascii()


def test_a_flood_is_counted_and_another_code_keeps_its_own_room():
    budget = Budget()
    now = time.monotonic()
    written = sum(budget.room("signing_rate", now) for _ in range(10_000))
    assert written == KEPT_BURST
    assert budget.room("signing_refused", now)
    assert budget.missed() == {"signing_rate": 10_000 - KEPT_BURST}
    assert budget.missed() == {}
    assert gap(seq=1, ts_ns=1, missed={"a": 1}).code == GAP
