"""Readers that know nothing of us accept our logs and refuse what our verifier refuses.

Go's golang.org/x/mod/sumdb is obligatory: `./appliance test` installs Debian's `golang-go` and
`golang-golang-x-mod-dev`. `aics-tlog` reads along where Python is new enough for it (3.12).
"""

from __future__ import annotations

import base64
import random
import subprocess
from contextlib import ExitStack

import pytest

from audit.verdict import OK
from audit.verifier import verify_log
from tests.contract.random_logs import agree_on, random_log
from tests.contract.readers import aics, aics_python, build_go, go
from tests.fakes.audit_log import KEY, PRIVATE, files_of, leaves, write_log
from tests.fixtures.audit import entry


@pytest.fixture(scope="session")
def go_reader(tmp_path_factory):
    """The compiled Go program. Fails, and does not skip, where Go is missing."""
    return build_go(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="session")
def readers(go_reader):
    """Every independent reader that runs here: Go's always, aics-tlog where Python is new enough."""
    with ExitStack() as stack:
        python = aics_python()
        chosen = [go(go_reader), *([aics(python)] if python else [])]
        yield [stack.enter_context(one) for one in chosen]


def go_says(go_reader, directory, key=KEY):
    done = subprocess.run(
        [str(go_reader), str(directory), str(key)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0, done.stdout


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 1000])
def test_go_proves_every_leaf_of_our_log(go_reader, tmp_path, size):
    write_log(tmp_path, leaves(size))
    assert go_says(go_reader, tmp_path) == (True, f"ok {size}\n")


def test_go_proves_a_log_with_a_third_level_of_tiles(go_reader, tmp_path):
    write_log(tmp_path, [b"%d" % n for n in range(65_536 + 300)])
    assert go_says(go_reader, tmp_path)[0]


async def test_go_proves_what_the_recorder_published(go_reader, bench):
    await bench.append([entry(n, oid=f"o-{n % 5}") for n in range(600)])
    await bench.recorder.drain()
    assert go_says(go_reader, bench.directory, bench.log.key) == (True, "ok 600\n")


def test_go_refuses_single_bits_that_our_verifier_refuses(go_reader, tmp_path):
    """Every file of a log with full and partial tiles, a handful of its bits each."""
    chance = random.Random(11)
    write_log(tmp_path, leaves(300))
    for path in files_of(tmp_path):
        if path.name == "vkey":
            continue  # Go takes the key from the command line
        right = path.read_bytes()
        for _ in range(8):
            at = chance.randrange(len(right) * 8)
            changed = bytearray(right)
            changed[at // 8] ^= 1 << at % 8
            path.write_bytes(bytes(changed))
            assert not go_says(go_reader, tmp_path)[0], (path, at)
            assert verify_log(tmp_path, str(KEY)).code != OK, (path, at)
        path.write_bytes(right)
    assert go_says(go_reader, tmp_path)[0]


@pytest.mark.parametrize("seed", range(50))
def test_all_readers_agree_on_random_logs_and_on_changed_bits(readers, tmp_path, seed):
    """A twentieth of tests/longer/logs.py."""
    size = random_log(tmp_path / "log", seed)
    assert agree_on(tmp_path / "log", readers, size, 5, seed) == 5


@pytest.mark.longer
def test_all_readers_refuse_every_single_bit_of_a_log_of_one_record(readers, tmp_path):
    write_log(tmp_path, leaves(1))
    assert agree_on(tmp_path, readers, 1, 0, 0) > 4000


def note_of(directory, text, signed=None):
    """A checkpoint with this text, signed by the log's own key; `signed`: what stands below instead."""
    line = KEY.line(PRIVATE.sign(text.encode()))
    (directory / "checkpoint").write_bytes((text + "\n" + (signed or line)).encode())


EDGES = {
    "no final newline": lambda note: note[:-1],
    "CRLF": lambda note: note.replace("\n", "\r\n"),
    "two blank lines": lambda note: note.replace("\n\n", "\n\n\n"),
    "a blank line at the end": lambda note: note + "\n",
    "the same signature twice": lambda note: note + note.split("\n\n")[1],
    "a second signature that is false": lambda note: note + KEY.line(bytes(64)),
    "no signature": lambda note: note.split("\n\n")[0] + "\n\n",
    "no blank line": lambda note: note.replace("\n\n", "\n"),
    "nothing": lambda note: "",
    "a space after the signature": lambda note: note[:-1] + " \n",
    "a hyphen for the dash": lambda note: note.replace("—", "-"),
}
TOLERANT = {
    # What one of the others lets pass, in its own reading of the same text; ours is the strict one.
    "the same signature twice": {"go sumdb"},
    "a second signature that is false": {"go sumdb"},  # it drops a key's second line unread
    "no final newline": {"aics-tlog"},
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_note_at_the_edge_of_its_form_is_refused(readers, tmp_path, edge):
    write_log(tmp_path, leaves(3))
    path = tmp_path / "checkpoint"
    path.write_bytes(EDGES[edge](path.read_text()).encode())
    assert verify_log(tmp_path, str(KEY)).code != OK
    for reader in readers:
        assert reader.accepts(tmp_path) is (reader.name in TOLERANT.get(edge, ())), reader.name


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY.name}\n0\n{ROOT}\n",  # the empty tree has another root
        f"{KEY.name}\n00\n{ROOT}\n", f"{KEY.name}\n-1\n{ROOT}\n", f"{KEY.name}\n\n{ROOT}\n",
        f"{KEY.name}\n1\n{ROOT}\n", f"{KEY.name}\n9223372036854775808\n{ROOT}\n",
        f"{KEY.name}\n3\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{KEY.name}\n3\n{base64.b64encode(bytes(33)).decode()}\n",
        f"{KEY.name}\n3\n\n", f"{KEY.name}\n3\n{ROOT[:-1]}\n", f"other\n3\n{ROOT}\n",
    ],
)  # fmt: skip
def test_a_signed_checkpoint_that_is_none_is_refused_by_all(readers, tmp_path, text):
    """The signature is right: only the form, the root's length, or the tree's own arithmetic is not."""
    write_log(tmp_path, leaves(3))
    note_of(tmp_path, text)
    assert verify_log(tmp_path, str(KEY)).code != OK
    for reader in readers:
        assert not reader.accepts(tmp_path), reader.name


@pytest.mark.parametrize("size", [0, 1, 2, 4, 128, 255, 256, 257, 512, 1024])
def test_all_readers_accept_every_power_of_two_and_its_neighbours(readers, tmp_path, size):
    write_log(tmp_path, leaves(size))
    assert agree_on(tmp_path, readers, size, 3, size) == 3
