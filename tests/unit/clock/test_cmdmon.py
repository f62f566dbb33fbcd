"""chrony's protocol: what a real chronyd 4.3 answered, read as its own chronyc read it; and nonsense."""

from __future__ import annotations

import random

import msgspec
import pytest

from audit import canonical
from ops.clock.cmdmon import NotTracking, bound_ns, float_of, read_reply, request, unsynchronised
from ops.clock.measure import Look, next_report
from tenancy.clock_quality import Instants, Report, judge
from tests.fakes.chronyd import Says, chrony_float

SEQUENCE = 0x01020304
NOW = Instants(boot="one", boottime_ns=10**12, offset_ns=10**18, uncertainty_ns=0)

# Asked of chronyd 4.3 (Debian 12, -x): one that follows another on the same host, one with `local`
# alone, one without any source.
SYNCHRONISED = bytes.fromhex(
    "060200000021000500000000000000000102030400000000000000007f0000017f00000100000000"
    "00000000000000000001000000020000000000006b01b02a240ff4dad91c087ed3602cf7dab417ba"
    "f76ceaa6ef7f26a3fa85fce0dee37fc2e0b27ed80681fbc2"
)
LOCAL = bytes.fromhex(
    "060200000021000500000000000000000102030400000000000000007f7f01010000000000000000"
    "00000000000000000000000000010000000000006b01b01011258d6b000000000000000000000000"
    "000000000000000000000000000000000000000000000000"
)
ALONE = bytes.fromhex(
    "06020000002100050000000000000000010203040000000000000000000000000000000000000000"
    "00000000000000000000000000000003000000000000000000000000000000000000000000000000"
    "000000000000000000000000048000000480000000000000"
)


def test_a_synchronised_daemon_is_read_as_chronyc_reads_it():
    """`chronyc -c tracking`, a moment later: 7F000001,127.0.0.1,2,1795272746.605025498,-0.000000425,
    -0.000000037,0.000000671,-0.009,-0.000,0.033,0.000003390,0.000005323,2.0,Normal; and without -c:
    "System time: 0.000000424 seconds fast of NTP time"."""
    said = read_reply(SYNCHRONISED, SEQUENCE)
    assert (said.ref_id, said.stratum, said.leap) == ("7F000001", 2, "normal")
    assert said.ref_time_ns == 1_795_272_746_605_025_498
    assert said.offset_ns == 425  # ahead
    assert (said.frequency_ppb, said.skew_ppb) == (-9, 33)
    assert (said.root_delay_ns, said.root_dispersion_ns) == (3391, 5320)
    assert unsynchronised(said) == ""
    assert bound_ns(said) == 425 + 5320 + 1696


def test_a_daemon_that_follows_itself_is_not_synchronised():
    """It says `Normal`, stratum 1, an error of 0."""
    said = read_reply(LOCAL, SEQUENCE)
    assert (said.stratum, said.leap, bound_ns(said)) == (1, "normal", 0)
    assert "own clock" in unsynchronised(said)


def test_a_daemon_without_a_source_is_not_synchronised():
    assert "not synchronised" in unsynchronised(read_reply(ALONE, SEQUENCE))


def test_a_question_is_as_long_as_its_answer_and_names_itself():
    asked = request(SEQUENCE)
    assert len(asked) == len(SYNCHRONISED) == 104
    assert asked[:12] == bytes.fromhex("06010000 00210000 01020304")
    assert not any(asked[12:])


@pytest.mark.parametrize(
    ("at", "byte"),
    [(0, 5), (1, 1), (2, 1), (3, 1), (5, 34), (7, 6), (9, 1), (19, 5)],
    ids=["version", "type", "res1", "res2", "command", "reply", "status", "sequence"],
)
def test_an_answer_to_something_else_is_refused(at, byte):
    other = bytearray(SYNCHRONISED)
    other[at] = byte
    with pytest.raises(NotTracking):
        read_reply(bytes(other), SEQUENCE)


@pytest.mark.parametrize("length", range(104))
def test_a_cut_answer_is_refused(length):
    with pytest.raises(NotTracking):
        read_reply(SYNCHRONISED[:length], SEQUENCE)


def test_fields_that_a_later_chronyd_appends_are_ignored():
    assert read_reply(SYNCHRONISED + bytes(16), SEQUENCE) == read_reply(SYNCHRONISED, SEQUENCE)


def test_no_bytes_raise_anything_else():
    chance = random.Random(4590)
    for _ in range(5000):
        body = SYNCHRONISED[:28] + chance.randbytes(76)
        said = read_reply(body, SEQUENCE)
        assert bound_ns(said) >= 0
        report = next_report(None, Look(instants=NOW, tracking=said), 50_000_000)
        assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
        assert judge(report, NOW).leaf["err"] is None or canonical.encode(judge(report, NOW).leaf)
        with pytest.raises(NotTracking):
            read_reply(chance.randbytes(chance.randrange(120)), SEQUENCE)


@pytest.mark.parametrize(
    "value", [0.0, 1.0, -1.0, 16.0, 1e-9, -4.25e-7, 3.39e-6, 0.5, -86400.0, 1e-12]
)
def test_floats_are_read_as_candm_says(value):
    """Against an encoder written from candm.h (tests/fakes/chronyd.py)."""
    word = int.from_bytes(chrony_float(value), "big", signed=True)
    assert float_of(word) == pytest.approx(value, rel=1e-6, abs=0)


def test_the_fake_says_what_a_real_one_says():
    """So that what is tested against the fake holds for the other."""
    said = read_reply(Says(ref_id=0xC0000201).answer(request(SEQUENCE)), SEQUENCE)
    assert (said.ref_id, said.offset_ns, said.root_delay_ns) == ("C0000201", 0, 2_000_001)
    assert said.root_dispersion_ns == pytest.approx(500_000, abs=2)
    assert Says().answer(request(SEQUENCE))[:28] == SYNCHRONISED[:28]
