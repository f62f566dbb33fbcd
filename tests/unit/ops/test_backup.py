"""What is decided about backups without a server: names, positions, lag, paths, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from ops.backup import elsewhere, sums
from ops.backup.archived import Wal, drop_unpadded, ended_early, needed
from ops.backup.drill import read_told, recovery_point_s
from ops.backup.layout import (
    Backup,
    Damaged,
    Flushed,
    Places,
    Repository,
    parse_lsn,
    segment_at,
    spell_lsn,
    start_of,
    write,
)
from ops.backup.parts import copy_tokens
from ops.backup.prepare import STATEMENTS
from ops.backup.relocate import moved, without_table
from ops.backup.restore import store_of
from ops.backup.standing import Lag, Look, why_not
from ops.cli.backup import backup as command
from ops.initialise import Choices, document
from ops.paths import places as host_places
from ops.preflight import preflight
from ops.settings import decode_settings
from ops.toml import dumps
from tenancy.errors import ConfigurationError, Invalid

MIB = 1 << 20
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
REPOSITORY = Repository(
    format="portcullis-backup/v1", installation="x", system_identifier="1", segment_bytes=16 * MIB
)


def backup(name: str = "20261122T090000Z", segment: int = 3) -> Backup:
    return Backup(
        format="portcullis-backup/v1", backup_id=name, installation="x", release="1", postgres="15",
        system_identifier="1", schema=1, began_at=NOW, ended_at=NOW, start_lsn="0/3000028",
        end_lsn="0/3000100", timeline=1, start_segment=f"{1:08X}{0:08X}{segment:08X}", bytes=1, without=(),
        files={},
    )  # fmt: skip


def archive(root: Path, *names: str) -> Places:
    places = Places(root)
    for directory in (places.wal, root / "base"):
        directory.mkdir()
    for name in names:
        with (places.wal / name).open("wb") as file:
            file.truncate(16 * MIB)
    return places


@pytest.mark.parametrize("text", ["0/0", "0/3000028", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_a_position_is_spelt_as_it_was_read(text: str) -> None:
    assert spell_lsn(parse_lsn(text)) == text


@pytest.mark.parametrize(
    ("timeline", "lsn", "name"),
    [  # as pg_walfile_name() says them
        (1, "0/3000028", "000000010000000000000003"),
        (2, "16/B374D848", "0000000200000016000000B3"),
    ],
)
def test_a_segment_has_the_name_that_postgresql_gives_it(
    timeline: int, lsn: str, name: str
) -> None:
    assert segment_at(timeline, parse_lsn(lsn), 16 * MIB) == name
    assert start_of(name, 16 * MIB) == parse_lsn(lsn) // (16 * MIB) * 16 * MIB


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{0:08X}{number:08X}"


def test_a_restore_takes_everything_from_the_backups_first_segment_on(tmp_path: Path) -> None:
    places = archive(tmp_path, *map(segment, (2, 3, 4)), segment(5) + ".partial")
    assert needed(places, backup(), 16 * MIB) == Wal((segment(3), segment(4)), segment(5), (), 1)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ((2, 4), f"has no {segment(3)}"),
        ((3, 5), f"has no {segment(4)}"),
        ((2,), "before the base backup does"),
    ],
)
def test_wal_that_is_missing_is_named(tmp_path: Path, there: tuple[int, ...], words: str) -> None:
    places = archive(tmp_path, *map(segment, there))
    with pytest.raises(Damaged, match=words):
        needed(places, backup(), 16 * MIB)


def test_a_hole_before_the_segment_that_was_being_filled_is_named(tmp_path: Path) -> None:
    places = archive(tmp_path, segment(3), segment(5) + ".partial")
    with pytest.raises(Damaged, match=f"has no {segment(4)}"):
        needed(places, backup(), 16 * MIB)


def test_a_recovery_that_stops_early_is_noticed() -> None:
    wal = Wal((segment(3), segment(4)), segment(5), (), 1)
    known = Flushed(lsn="0/5000100", at=NOW, synchronous=True)
    assert ended_early("0/5000100", wal, known, REPOSITORY) is None
    assert ended_early("0/5000200", wal, None, REPOSITORY) is None
    assert "the archive had 0/5000100" in (ended_early("0/50000F8", wal, known, REPOSITORY) or "")
    assert "goes on after it" in (ended_early("0/4000010", wal, None, REPOSITORY) or "")


def test_the_recovery_point_is_the_age_of_the_oldest_that_is_missing() -> None:
    def made(at: datetime) -> UUID:
        return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))

    assert recovery_point_s([], NOW) == 0
    missing = [made(NOW - timedelta(seconds=age)) for age in (0.5, 12.25, 3)]
    assert recovery_point_s(missing, NOW) == 12.25


def test_a_senders_notes_are_ids_and_nothing_else() -> None:
    one = UUID(int=1)
    assert read_told([f"{one}\n", "\n"]) == {one}
    with pytest.raises(Invalid, match="line 2"):
        read_told([f"{one}\n", "202 accepted\n"])


# ------------------------------------------------------------------------------------ standing


STREAMS = Look("0/5000000", "sync", "reserved", 0x5000000, 0x5000000)
UNDER_PATRONI = msgspec.structs.replace(STREAMS, patroni=True)
"""Its standby is away: it has commits wait for whoever streams, and so for the archive."""


def test_a_busy_archive_that_is_a_little_behind_at_each_look_does_not_lag() -> None:
    lag = Lag()
    for second in range(60):
        written = 1000 * (second + 1)
        look = msgspec.structs.replace(STREAMS, written=written, archived=written - 10)
        assert lag.seconds(look, float(second)) <= 1.0


def test_an_archive_that_is_away_lags_since_it_was_away() -> None:
    lag = Lag()
    assert lag.seconds(STREAMS, 0.0) == 0
    away = msgspec.structs.replace(STREAMS, flushed=None, written=0x5000100)
    assert lag.seconds(away, 1.0) == 0
    assert lag.seconds(msgspec.structs.replace(away, written=0x5000200), 6.0) == 5.0
    assert lag.seconds(None, 8.0) == 7.0
    back = msgspec.structs.replace(STREAMS, written=0x5000200, archived=0x5000200)
    assert lag.seconds(back, 9.0) == 0


@pytest.mark.parametrize(
    ("look", "wanted", "words"),
    [
        (STREAMS, True, None),
        (msgspec.structs.replace(STREAMS, sync_state="async"), False, None),
        (msgspec.structs.replace(STREAMS, sync_state="async"), True, "synchronous on"),
        (STREAMS, False, "synchronous off"),
        (msgspec.structs.replace(STREAMS, flushed=None), True, "commits wait for it"),
        (msgspec.structs.replace(STREAMS, slot="lost"), True, "base backup"),
        (msgspec.structs.replace(STREAMS, slot=None), True, "backup prepare"),
        (UNDER_PATRONI, False, None),
        (msgspec.structs.replace(UNDER_PATRONI, sync_state="async"), False, None),
        (msgspec.structs.replace(UNDER_PATRONI, sync_state="async"), True, "synchronous = false"),
        (msgspec.structs.replace(UNDER_PATRONI, altered=True), True, "ALTER SYSTEM RESET"),
        (msgspec.structs.replace(STREAMS, altered=True), True, None),
    ],
)
def test_what_keeps_a_restore_from_being_whole_is_said(
    look: Look, wanted: bool, words: str | None
) -> None:
    said = why_not(look, wanted)
    assert (said is None) if words is None else (words in (said or ""))


ONLY_US = "FIRST 1 (portcullis_wal)"


@pytest.mark.parametrize(
    ("look", "synchronous", "standbys", "words"),
    [
        (UNDER_PATRONI, False, "gw2", None),
        (UNDER_PATRONI, False, "*", None),
        (UNDER_PATRONI, True, ONLY_US, None),  # one member alone
        (UNDER_PATRONI, True, "gw2", "Patroni chooses"),
        (msgspec.structs.replace(UNDER_PATRONI, slot=None), False, "gw2", "patronictl edit-config"),
        (msgspec.structs.replace(UNDER_PATRONI, altered=True), True, ONLY_US, "RESET"),
        (msgspec.structs.replace(STREAMS, slot=None), True, ONLY_US, None),
        (STREAMS, True, "", "postgresql.conf"),
        (STREAMS, False, ONLY_US, "take it out"),
    ],
)
def test_on_a_server_of_others_is_said_who_has_to_do_what(
    look: Look, synchronous: bool, standbys: str, words: str | None
) -> None:
    said = elsewhere.refusal(look, synchronous, standbys)
    assert (said is None) if words is None else (words in (said or ""))
    assert "ALTER SYSTEM SET" not in (said or "")
    assert "ALTER SYSTEM" not in STATEMENTS


# ------------------------------------------------------------------------------------ files


def test_a_segment_is_summed_once_and_a_line_that_a_crash_cut_short_is_written_again(
    tmp_path: Path,
) -> None:
    places = archive(tmp_path, segment(1), segment(2), segment(3) + ".partial")
    assert sums.add_new(places) == [segment(1), segment(2)]
    assert sums.add_new(places) == []
    text = places.sums.read_text()
    places.sums.write_text(text[:-30])
    assert sums.add_new(places) == [segment(2)]
    assert places.sums.read_text() == text
    (places.wal / segment(2)).write_bytes(b"other")
    assert sums.wrong(places, [segment(1), segment(2)]) == [
        f"wal/{segment(2)} is not what was written: its SHA-256 differs"
    ]


def test_a_segment_that_a_full_disk_left_half_padded_is_taken_away_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    """pg_receivewal would refuse it for ever, also when there is room again. Found by filling a disk."""
    places = archive(tmp_path, segment(3), segment(4) + ".partial")
    assert drop_unpadded(places, 16 * MIB) == []
    half = places.wal / (segment(5) + ".partial")
    half.write_bytes(b"\0" * 12_570_624)
    assert needed(places, backup(), 16 * MIB).partial == segment(4)
    assert drop_unpadded(places, 16 * MIB) == [half.name]
    assert sorted(path.name for path in places.wal.iterdir()) == [
        segment(3),
        segment(4) + ".partial",
    ]
    half.write_bytes(b"\0" * 100 + b"WAL")
    with pytest.raises(Damaged, match="look at it"):
        drop_unpadded(places, 16 * MIB)
    assert half.exists()


def test_a_directory_without_its_manifest_is_no_backup(tmp_path: Path) -> None:
    places = archive(tmp_path)
    for name in ("20261122T090000Z", "20261122T100000Z"):
        places.base(name).mkdir()
    write(places.base("20261122T090000Z") / "backup.json", backup())
    assert [one.backup_id for one in places.backups()] == ["20261122T090000Z"]
    assert [path.name for path in places.halves()] == ["20261122T100000Z"]
    with pytest.raises(ConfigurationError, match="there are: 20261122T090000Z"):
        places.backup("20261122T100000Z")


def test_a_directory_that_is_no_repository_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not mounted"):
        Places(tmp_path).identity()


def test_a_token_as_it_is_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "token.object").write_bytes(b"\x00" * 400)
    with pytest.raises(Damaged, match="hsm backup"):
        copy_tokens(tmp_path / "token.object", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_paths_move_and_words_that_only_look_like_them_stay() -> None:
    text = (
        'var = "/srv/p/var"\nruntime = "/srv/p/var/run"\n# kept: /srv/p/variant\n'
        'admin = "host=/srv/p/var/run/pg port=5432"\nurl = "unix:///srv/p/var/run/redis.sock"\n'
        'path = "/mnt/srv/p/var/audit"\n'
    )
    old = {Path("/srv/p/var"): Path("/new"), Path("/srv/p/var/run"): Path("/tmp/short")}
    assert moved(text, old) == (
        'var = "/new"\nruntime = "/tmp/short"\n# kept: /srv/p/variant\n'
        'admin = "host=/tmp/short/pg port=5432"\nurl = "unix:///tmp/short/redis.sock"\n'
        'path = "/mnt/srv/p/var/audit"\n'
    )


def test_a_restored_installation_does_not_write_into_the_archive_it_came_from() -> None:
    text = '[a]\nx = 1\n\n[backup]\ndirectory = "/r"\n\n[c]\ny = 2\n'
    assert without_table(text, "backup") == (
        '[a]\nx = 1\n\n# [backup]\n# directory = "/r"\n\n[c]\ny = 2\n'
    )


def test_an_installation_that_is_made_with_an_archive_says_so_in_its_settings(
    tmp_path: Path,
) -> None:
    text = dumps(document(host_places(tmp_path / "var"), Choices(backup=tmp_path / "r"))).encode()
    made = decode_settings(text).backup
    assert made is not None
    assert (made.directory, made.synchronous) == (tmp_path / "r", True)
    assert "user=portcullis_backup" in made.database


def test_a_drill_writes_nothing_beside_its_own_directory(tmp_path: Path) -> None:
    where = host_places(tmp_path / "second")
    text = dumps(document(where, Choices()))
    inside = decode_settings(text.encode())
    store = f'store = "{where.var / "audit"}"'
    assert store in text
    living = decode_settings(text.replace(store, 'store = "/var/lib/portcullis/audit"').encode())
    assert store_of(inside, where, True) == store_of(living, where, True) == where.var / "audit"
    assert store_of(living, where, False) == Path("/var/lib/portcullis/audit")


def test_preflight_says_that_the_repository_is_not_there(tmp_path: Path) -> None:
    text = dumps(document(host_places(tmp_path / "var"), Choices(backup=tmp_path / "r"))).encode()
    found = {one.name: one.problem for one in preflight(decode_settings(text))}
    assert "`portcullis backup prepare` makes one" in (found["backup repository"] or "")


def test_every_command_of_backup_says_what_it_does() -> None:
    assert set(command.commands) == {"prepare", "list", "verify", "forget", "synchronous", "aside"}
    assert all(one.help for one in command.commands.values())
