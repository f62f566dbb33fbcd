"""Which witnesses must have signed, and who counts: the words of C2SP tlog-policy, and no others."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Checkpoint
from audit.cosignature import Cosigner, cosigned_text
from audit.malformed import Malformed
from audit.note import VerifierKey
from audit.policy import check_quorum, parse_policy

SECRETS = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 16) for name in
           ("X1", "X2", "X3", "Y1", "Y2", "Y3")}  # fmt: skip
WITNESSES = {
    name: Cosigner(f"witness.test/{name}", secret.public_key().public_bytes_raw())
    for name, secret in SECRETS.items()
}
LOG_SECRET = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
LOG = VerifierKey("log.test/1", LOG_SECRET.public_key().public_bytes_raw())
LINES = "".join(f"witness {name} {key}\n" for name, key in WITNESSES.items())
TWO_LEVELS = (
    f"log {LOG}\n{LINES}group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n"
    "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
)
HEAD = Checkpoint(LOG.name, 7, bytes(32))


def note(*names, time=1_700_000_000):
    lines = [cosigned(name, time) for name in names]
    return HEAD.note((LOG, LOG_SECRET.sign(HEAD.text().encode()))) + "".join(lines).encode()


def cosigned(name, time, text=None):
    signature = SECRETS[name].sign(cosigned_text(time, text or HEAD.text()))
    data = WITNESSES[name].key_id + time.to_bytes(8, "big") + signature
    return f"— {WITNESSES[name].name} {base64.b64encode(data).decode()}\n"


def met(policy, *names):
    return check_quorum(note(*names), parse_policy(policy.encode())).met


@pytest.mark.parametrize(
    ("names", "enough"),
    [("X1 X2 Y1", True), ("X1 X2 X3 Y3 Y1", True), ("X1 Y1 Y2 Y3", False), ("X1 X2 X3", False),
     ("", False)],
)  # fmt: skip
def test_the_published_example_of_two_levels_is_counted_as_it_says(names, enough):
    assert met(TWO_LEVELS, *names.split()) is enough


def test_one_witness_that_signs_often_counts_once_and_its_latest_word_is_kept():
    policy = parse_policy(f"{LINES}group q 2 X1 X2\nquorum q\n".encode())
    twice = note("X1", time=5) + cosigned("X1", 9).encode()
    quorum = check_quorum(twice, policy)
    assert (quorum.met, quorum.times) == (False, {"X1": 9})
    assert check_quorum(twice + cosigned("X2", 1).encode(), policy).met


def test_a_key_under_two_names_is_refused_so_that_it_cannot_count_twice():
    again = Cosigner("witness.test/other", WITNESSES["X1"].public_key)
    with pytest.raises(Malformed, match="line 7: this public key"):
        parse_policy(f"{LINES}witness X4 {again}\nquorum X4\n".encode())


def test_a_name_that_is_a_member_twice_is_refused_so_that_it_cannot_count_twice():
    for groups in ("group g 1 X1 X1\n", "group g any X1\ngroup h all X1 g\n"):
        with pytest.raises(Malformed, match="second time"):
            parse_policy(f"{LINES}{groups}quorum g\n".encode())


def test_nobody_need_sign_where_the_quorum_is_none():
    assert met("quorum none\n")


def test_a_witness_alone_can_be_the_quorum():
    assert met(f"{LINES}quorum Y2\n", "Y2")
    assert not met(f"{LINES}quorum Y2\n", "Y1")


def test_a_strangers_line_is_ignored_and_a_known_witnesses_false_one_refuses_the_note():
    policy = parse_policy(f"witness X1 {WITNESSES['X1']}\nquorum none\n".encode())
    assert check_quorum(note("X1", "Y1"), policy).times.keys() == {"X1"}
    false = note() + cosigned("X1", 5, text="another\n").encode()
    with pytest.raises(Malformed, match="does not verify"):
        check_quorum(false, policy)


@pytest.mark.parametrize("length", [0, 64, 71, 73])
def test_a_cosignature_of_another_length_is_refused(length):
    with pytest.raises(Malformed, match="72 bytes"):
        WITNESSES["X1"].time_of(HEAD.text(), bytes(length))


def test_a_time_beyond_63_bits_is_refused():
    signature = SECRETS["X1"].sign(cosigned_text(2**63, HEAD.text()))
    with pytest.raises(Malformed, match="no time"):
        WITNESSES["X1"].time_of(HEAD.text(), (2**63).to_bytes(8, "big") + signature)


def test_the_policys_words_may_be_set_apart_by_tabs_spaces_comments_and_empty_lines():
    key = WITNESSES["X1"]
    text = f"\t# café\n\n \t \n  witness \t X1 {key}\thttps://x.test/ \n#\nquorum  X1\t\n"
    (witness,) = parse_policy(text.encode()).witnesses
    assert (witness.key, witness.url) == (key, "https://x.test/")


def test_a_name_is_opaque_octets_and_a_kelvin_sign_is_no_k():
    key = str(WITNESSES["X1"]).encode()
    parse_policy(b"witness \xff\xfe " + key + b"\nquorum \xff\xfe\n")
    with pytest.raises(Malformed, match="not defined"):
        parse_policy(b"witness K " + key + b"\nquorum \xe2\x84\xaa\n")


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "# nothing\n", "quorum none", "quorum none\r\n", "quorum none\x00\n",
        "quorum\n", "quorum none none\n", "quorum none\nquorum none\n", "quorum X1\n",
        "quorum all\n", "Quorum none\n", "witness\nquorum none\n", "log\nquorum none\n",
        f"witness X1 {LOG}\nquorum none\n",  # a log's key is no witness's
        f"log {WITNESSES['X1']}\nquorum none\n",
        f"log {LOG}\nlog {LOG}\nquorum none\n",
        f"witness none {WITNESSES['X1']}\nquorum none\n",
        f"witness X1 {WITNESSES['X1']}\nwitness X1 {WITNESSES['X2']}\nquorum none\n",
        f"quorum X1\nwitness X1 {WITNESSES['X1']}\n",
        f"{LINES}group none any X1\nquorum none\n",
        f"{LINES}group X1 any X2\nquorum none\n",
        f"{LINES}group g any\nquorum g\n",
        f"{LINES}group g any none\nquorum g\n",
        f"{LINES}group g any g\nquorum g\n",
        f"{LINES}group g any h\ngroup h any X1\nquorum g\n",
        *(f"{LINES}group g {k} X1 X2\nquorum g\n" for k in ("0", "3", "-1", "01", "+1", "two", "٢")),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text):
    with pytest.raises(Malformed):
        parse_policy(text.encode())
