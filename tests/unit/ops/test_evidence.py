"""The archive of evidence: whole or nothing, honest about gaps, and without a secret that is known."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from ops.cli.evidence import moment
from ops.doctor.looking import Ground
from ops.evidence import logs
from ops.evidence.archive import Archive, check, holding
from ops.evidence.attached import attached
from ops.evidence.collection import File, Gap, Part, Wish, collect
from ops.evidence.known_secrets import known_secrets, lines_of
from ops.initialise import Choices, document
from ops.masking import MASK, Masker
from ops.paths import places
from ops.settings import Settings, decode_settings
from ops.toml import dumps
from tenancy.errors import ConfigurationError

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PIN = "ce9546d2bbc9af1e01415e971bae3ca5"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """As `init` writes them; of what they name only the sign token's PIN is there."""
    where = places(tmp_path / "var")
    made = decode_settings(dumps(document(where, Choices())).encode())
    made.hsm.sign_pin_file.parent.mkdir(parents=True)
    made.hsm.sign_pin_file.write_text(PIN)
    return made


def wish(settings: Settings) -> Wish:
    ground = Ground(settings, settings.instance.var / "portcullis.toml", None)
    return Wish(ground, NOW, "Ada", "a drill")


def files_in(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {
            member.name.partition("/")[2]: opened.read()
            for member in tar
            if (opened := tar.extractfile(member)) is not None
        }


def part(what: str, *files: File | Gap, then: BaseException | None = None) -> Part:
    async def take(_: Wish) -> AsyncIterator[File | Gap]:
        for one in files:
            yield one
        if then is not None:
            raise then

    return Part(what, take, 5.0)


async def test_what_breaks_is_listed_with_its_reason_and_what_came_before_is_kept(
    settings: Settings, tmp_path: Path
) -> None:
    done = await collect(
        wish(settings), tmp_path / "out",
        (
            part("logs", File("logs/a.log", "one\n", "a"), then=OSError("the disk is gone")),
            part("clock", File("clock.json", "{}", "c"), Gap("chronyd", "silent")),
        ),
    )  # fmt: skip
    found = files_in(done.path)
    said = json.loads(found["MANIFEST.json"])
    assert set(found) == {"logs/a.log", "clock.json", "MANIFEST.json"}
    assert said["not_collected"] == [
        {"what": "logs", "why": "OSError: the disk is gone"},
        {"what": "chronyd", "why": "silent"},
    ]
    assert (said["collected_by"]["said"], said["why"]) == ("Ada", "a drill")
    assert said["began_at"].endswith("Z")
    assert check(done.path).faults == ()
    assert done.path.stat().st_mode & 0o777 == 0o600


async def test_a_part_that_hangs_is_given_up_and_said(settings: Settings, tmp_path: Path) -> None:
    async def hangs(_: Wish) -> AsyncIterator[File | Gap]:
        yield File("first.txt", "was in time", "f")
        await asyncio.Event().wait()

    done = await collect(wish(settings), tmp_path / "out", (Part("HSM", hangs, 0.05),))
    assert [gap.what for gap in done.gaps] == ["HSM"]
    assert "within 0.05 s" in done.gaps[0].why
    assert "first.txt" in files_in(done.path)


async def test_a_known_secret_is_masked_wherever_it_stands_and_its_file_is_named(
    settings: Settings, tmp_path: Path
) -> None:
    files = (
        File("logs/signer.log", f"C_Login {PIN.encode().hex()}\n", "l"),
        File("audit/checkpoint", f"log\n4\n{PIN}\n", "c", exact=True),
        File("clean.txt", "nothing", "c"),
    )
    broken = part("logs", *files, then=RuntimeError(f"PIN {PIN} was refused"))
    done = await collect(wish(settings), tmp_path / "out", (broken,))
    found = files_in(done.path)
    assert done.leaked == ("logs/signer.log", "audit/checkpoint")
    assert found["logs/signer.log"].decode() == f"C_Login {MASK}\n"
    assert "audit/checkpoint" not in found
    everything = b"".join(found.values())
    assert PIN.encode() not in everything
    assert PIN.encode().hex().encode() not in everything
    assert json.loads(found["MANIFEST.json"])["masked"]["in"] == list(done.leaked)


async def test_evidence_is_not_put_into_what_is_examined(settings: Settings) -> None:
    for inside in (settings.instance.var, settings.instance.var / "evidence"):
        with pytest.raises(ConfigurationError, match="not kept in what is examined"):
            await collect(wish(settings), inside, ())


def test_signed_bytes_go_in_as_they_are(tmp_path: Path) -> None:
    note = b"portcullis.invalid/log/1\n4\nAAAA\n\n\xe2\x80\x94 mail@example.com AAAA\n"
    with Archive(tmp_path, "x", Masker()) as archive:
        assert archive.add("checkpoint", note, "c", exact=True) == ""
        done = archive.close({})
    assert files_in(done.path)["checkpoint"] == note


def test_an_archive_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with Archive(tmp_path, "x", Masker()) as archive:
            archive.add("a", "b", "c")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert list(tmp_path.iterdir()) == []


def rewritten(archive: Path, change: Any) -> Path:
    """A copy whose files went through `change`, the manifest left as it was."""
    target = archive.with_name("altered.tar.gz")
    with tarfile.open(archive) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            opened = old.extractfile(member)
            assert opened is not None
            data = change(member.name.partition("/")[2], opened.read())
            if data is None:
                continue
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return target


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda name, data: data + b"!" if name == "a.txt" else data, "a.txt was altered"),
        (lambda name, data: None if name == "a.txt" else data, "a.txt is missing"),
        (lambda name, data: None if name == "MANIFEST.json" else data, "it has no MANIFEST.json"),
    ],
)
def test_what_was_altered_or_taken_out_is_named(tmp_path: Path, change: Any, fault: str) -> None:
    with Archive(tmp_path, "x", Masker()) as archive:
        archive.add("a.txt", "as it was", "a")
        archive.add("b.txt", "too", "b")
        done = archive.close({})
    assert check(done.path).faults == ()
    assert fault in check(rewritten(done.path, change)).faults


def test_the_sum_that_is_told_is_the_archives(tmp_path: Path) -> None:
    with Archive(tmp_path, "x", Masker()) as archive:
        done = archive.close({"a": 1})
    data = done.path.read_bytes()
    assert (done.sha256, done.bytes) == (sha256(data).hexdigest(), len(data))
    assert gzip.decompress(data)


# ---------------------------------------------------------------- which secrets are known


def test_each_secret_that_the_settings_name_is_looked_for(settings: Settings) -> None:
    assert PIN.encode() in known_secrets(settings).values


def test_a_secret_that_cannot_be_read_is_said_and_not_forgotten(settings: Settings) -> None:
    settings.hsm.enrol_pin_file.mkdir()  # not even root reads a directory
    (unread,) = known_secrets(settings).unread
    assert unread[0] == settings.hsm.enrol_pin_file


@pytest.mark.parametrize(
    ("content", "secrets"),
    [
        (b"hunter22\n", [b"hunter22"]),
        (b"AKIA123\nhunter22\n", [b"AKIA123", b"hunter22"]),
        (b"-----BEGIN PRIVATE KEY-----\nMHcCAQ\n-----END PRIVATE KEY-----\n", [b"MHcCAQ"]),
        (
            b"db:5432:portcullis:worker:hunter22\n",
            [b"db:5432:portcullis:worker:hunter22", b"hunter22"],
        ),
        (b"\xff\xfe\x00key", [b"\xff\xfe\x00key"]),
        (b"# a remark\n\n", []),
    ],
)
def test_what_in_a_file_is_a_secret(content: bytes, secrets: list[bytes]) -> None:
    assert list(lines_of(content)) == secrets


# ---------------------------------------------------------------- logs


def test_log_lines_are_chosen_by_the_time_that_they_say() -> None:
    lines = [
        '{"event": "old", "timestamp": "2026-11-22T02:59:59.999Z"}',
        "  its second line",
        '{"event": "new", "timestamp": "2026-11-22T03:00:00.000001Z"}',
        "Traceback (most recent call last):",
        '{"event": "later", "timestamp": "2026-11-22T03:01:00Z"}',
    ]
    assert list(logs.since(lines, NOW)) == lines[2:]


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-11-22 03:00:00.500 UTC [7] LOG:  x", NOW + timedelta(milliseconds=500)),
        ('{"timestamp": "2026-11-22T04:00:00+01:00"}', NOW),
        ("no time at all", None),
        ('{"timestamp": "2026-99-22T04:00:00Z"}', None),
    ],
)
def test_the_time_of_a_line(line: str, at: datetime | None) -> None:
    assert logs.time_of(line) == at


def test_redis_writes_local_time() -> None:
    found = logs.time_of("22206:C 22 Nov 2026 03:00:00.250 # Redis is starting")
    assert found is not None
    assert found.astimezone().replace(tzinfo=None) == datetime(2026, 11, 22, 3, 0, 0, 250_000)


def test_what_postgresql_repeats_of_a_statement_is_left_out_with_its_further_lines() -> None:
    lines = [
        "2026-11-22 03:00:00 UTC [7] w@p ERROR:  duplicate key",
        "2026-11-22 03:00:00 UTC [7] w@p DETAIL:  Key (name)=(Ada) already exists.",
        "2026-11-22 03:00:00 UTC [7] w@p STATEMENT:  INSERT INTO people",
        "\tVALUES ('Ada')",
        "2026-11-22 03:00:01 UTC [7] w@p LOG:  done",
    ]
    kept = "\n".join(logs.without_statements(lines))
    assert "Ada" not in kept
    assert "INSERT" not in kept
    assert "duplicate key" in kept
    assert kept.endswith("LOG:  done")


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-22T02:00:00+01:00", NOW - timedelta(hours=2)),
    ],
)
def test_since_when(text: str, at: datetime) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["yesterday", "0h", "24", "2026-11-22T02:00:00", ""])
def test_a_time_that_is_none_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90m, 24h, 7d"):
        moment(text, NOW)


def test_the_manifest_is_json_of_one_kind(tmp_path: Path) -> None:
    with Archive(tmp_path, "x", Masker()) as archive:
        archive.add("a", "b", "where from")
        done = archive.close({"format": "f"})
    said = msgspec.json.decode(files_in(done.path)["MANIFEST.json"])
    (entry,) = said["files"]
    assert set(entry) == {"name", "sha256", "bytes", "taken_at", "source"}


async def test_what_others_said_is_attached_and_masked_as_everything_is(
    settings: Settings, tmp_path: Path
) -> None:
    said, keeper = tmp_path / "said", tmp_path / "keeper"
    said.mkdir()
    (said / "patroni.txt").write_text(f"leader gw1\nPIN {PIN}\nmasterauth of-the-keeper\n")
    (said / "link").symlink_to("/etc/hostname")
    keeper.write_text("of-the-keeper\n")
    asked = wish(settings)._replace(attached=said, secrets=(keeper,))
    done = await collect(asked, tmp_path / "out", (Part("attached", attached, 5.0),))
    found = files_in(done.path)
    assert found["attached/patroni.txt"].decode() == f"leader gw1\nPIN {MASK}\nmasterauth {MASK}\n"
    assert done.leaked == ("attached/patroni.txt",)
    assert [gap.what for gap in done.gaps] == ["attached/link"]
    known = known_secrets(settings, (keeper,))
    assert holding(done.path, Masker(known.values)) == ()


async def test_a_secret_in_an_archive_is_found_by_whoever_looks_again(
    settings: Settings, tmp_path: Path
) -> None:
    """As if the collection had not known it: it was put there afterwards, or came as a secret later."""
    late = tmp_path / "late"
    said = tmp_path / "said"
    said.mkdir()
    (said / "log.txt").write_text("it is zebra-late-9\n")
    asked = wish(settings)._replace(attached=said)
    done = await collect(asked, tmp_path / "out", (Part("attached", attached, 5.0),))
    late.write_text("zebra-late-9\n")
    known = known_secrets(settings, (late,))
    assert holding(done.path, Masker(known.values)) == ("attached/log.txt",)
