"""The manifest's chain: one right spelling, nothing taken out, nothing shortened, nothing said twice."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from audit.malformed import Malformed
from audit.manifest import (
    START,
    File,
    Segment,
    digest,
    edge,
    full_between,
    last_segment,
    number_of,
    parse,
    path_of,
    read_chain,
)  # fmt: skip
from audit.tiles import Builder

AT = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
UNTIL = AT + timedelta(days=2192)


def files(start, end, until=UNTIL):
    return tuple(
        File(tile.path(), digest(tile.path().encode()), 8192, until, "v1")
        for tile in full_between(start, end)
    )


def chain(*ends):
    """A store's segments, each from the end of the one before to the next of `ends`."""
    made, previous, start = {}, START, 0
    for number, end in enumerate(ends):
        segment = Segment(
            "o.test/1", number, previous, start, end, 2192, AT, files(start, end)
        )  # fmt: skip
        made[path_of(number)] = segment.encode()
        previous, start = digest(segment.encode()), end
    return made


def test_a_chain_reads_as_what_was_written():
    made = chain(256, 1024, 256 * 256)
    manifest = read_chain(made.get)
    assert manifest is not None
    assert (manifest.segments, manifest.leaves, manifest.term_days) == (3, 65536, 2192)
    assert set(manifest.files) == {tile.path() for tile in full_between(0, 65536)}
    assert manifest.files["tile/1/000"].until == UNTIL
    assert read_chain({}.get) is None


def test_every_changed_byte_is_refused_or_breaks_the_chain():
    """But in the last segment, whose own words nothing follows yet: there only its form is bound."""
    made = chain(256, 512)
    first = made[path_of(0)]
    for at in range(len(first)):
        broken = first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :]
        with pytest.raises(Malformed):
            read_chain({**made, path_of(0): broken}.get)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"number": 2}, "number"),
        ({"origin": "o.test/2"}, "number"),
        ({"previous": "0" * 64}, "does not continue"),
        ({"start": 0, "files": files(0, 512)}, "does not begin"),
        ({"end": 511}, "does not begin"),
        ({"term_days": 2191}, "shorter time"),
        ({"files": files(256, 512)[1:]}, "does not name"),
        ({"files": (*files(256, 512), *files(512, 768))}, "did not become full there"),
        ({"files": (*files(256, 512), *files(0, 256, UNTIL - timedelta(1)))}, "otherwise before"),
    ],
)
def test_a_link_that_does_not_hold_is_named(change, why):
    made = chain(256, 512)
    wrong = dataclasses.replace(parse(made[path_of(1)]), **change)
    with pytest.raises(Malformed, match=why):
        read_chain({**made, path_of(1): wrong.encode()}.get)


def test_a_longer_retention_is_said_by_a_later_line_and_what_else_changed_is_refused():
    made = chain(256)
    later = files(0, 256, UNTIL + timedelta(days=365))
    segment = Segment("o.test/1", 1, digest(made[path_of(0)]), 256, 256, 2557, AT, later)
    manifest = read_chain({**made, path_of(1): segment.encode()}.get)
    assert manifest is not None
    assert {file.until for file in manifest.files.values()} == {UNTIL + timedelta(days=365)}
    other = dataclasses.replace(later[0], sha256="1" * 64)
    wrong = dataclasses.replace(segment, files=(other,))
    with pytest.raises(Malformed, match="otherwise before"):
        read_chain({**made, path_of(1): wrong.encode()}.get)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 1001])
def test_the_last_segment_is_found_in_few_reads(count):
    made = chain(*(256 * (n + 1) for n in range(count)))
    asked = []

    def read(name):
        asked.append(name)
        return made.get(name)

    found = last_segment(read)
    assert (found and found[0].number) == (count - 1 if count else None)
    assert len(asked) <= 24


def test_names_have_one_spelling():
    assert path_of(1_234_067) == "manifest/x001/x234/067"
    assert number_of("manifest/x001/x234/067") == 1_234_067
    for wrong in ("manifest/0", "manifest/x000/001", "manifest/001.p/4", "tile/0/001"):
        with pytest.raises(Malformed):
            number_of(wrong)


@pytest.mark.parametrize("step", [1, 255, 256, 257, 70_000])
def test_which_files_become_full_and_which_are_at_the_edge_is_what_the_builder_makes(step):
    builder, size = Builder(), 0
    while size < 140_000:
        for _ in range(step):
            builder.append(b"", b"\0" * 32)
        grown = {tile for tile, _ in builder.take_full()}
        assert grown == set(full_between(size, size + step))
        size += step
        if step == 1 and size > 600:
            break
        assert {tile for tile, _ in builder.partials()} == set(edge(size))
