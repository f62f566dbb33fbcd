"""The verifier in the page (static/verify.js), in a real browser, against the log's own making side.

The page is served to the browser by the test, so that neither an installation nor a network is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.async_api import Page, Route, async_playwright

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.note import ECDSA_P256, VerifierKey
from audit.proof import Proof
from tests.integration.console.browser import CHROMIUM

pytestmark = pytest.mark.asyncio(loop_scope="module")
PLACE = "https://verify.example/"
ORIGIN = "log.example/one"
LARGEST = 17


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    """A page of a secure origin, for WebCrypto is only there, with the module's functions on `window.v`."""
    script = (files("gateway.console") / "static" / "verify.js").read_text()

    async def serve(route: Route) -> None:
        if route.request.url.endswith(".js"):
            await route.fulfill(body=script, content_type="text/javascript")
        else:
            await route.fulfill(body="<!doctype html><title>v</title>", content_type="text/html")

    async with async_playwright() as player:
        chromium = await player.chromium.launch(executable_path=CHROMIUM)
        try:
            one = await chromium.new_page()
            await one.route(f"{PLACE}**", serve)
            await one.goto(PLACE)
            await one.evaluate("import('/verify.js').then((all) => { window.v = all; })")
            yield one
        finally:
            await chromium.close()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Tree:
    """A log of `size` leaves."""

    def __init__(self, size: int) -> None:
        self.leaves = [f"leaf {number}".encode() for number in range(size)]
        self.hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves]

    def node(self, level: int, index: int) -> bytes:
        return merkle.perfect_root(self.hashes[index << level : (index + 1) << level])

    def root(self, size: int) -> bytes:
        return merkle.range_root(0, size, self.node)


async def test_inclusion_is_proven_for_every_leaf_of_every_tree_and_for_no_other_place(page):
    tree = Tree(LARGEST)
    cases = [
        [b64(tree.hashes[i]), str(at), str(size), [b64(h) for h in merkle.inclusion_proof(i, size, tree.node)],
         b64(tree.root(size)), i == at]
        for size in range(1, LARGEST + 1) for i in range(size) for at in {i, (i + 1) % size}
    ]  # fmt: skip
    wrong = await page.evaluate(
        """async (cases) => { const out = []; for (const [hash, at, size, proof, root, right] of cases) {
        const [of, way, top] = [v.unb64(hash), proof.map(v.unb64), v.unb64(root)];
        const found = await v.verifyInclusion(of, BigInt(at), BigInt(size), way, top);
        if (found !== right) out.push([at, size]); } return out; }""",
        cases,
    )
    assert wrong == []
    assert len(cases) > LARGEST**2 / 2


async def test_consistency_is_proven_between_all_sizes_and_not_with_another_root(page):
    tree = Tree(LARGEST)
    other = b64(hashlib.sha256(b"another").digest())
    cases = [
        [str(old), str(new), root, b64(tree.root(new)),
         [b64(h) for h in merkle.consistency_proof(old, new, tree.node)], root != other]
        for new in range(1, LARGEST + 1) for old in range(1, new + 1)
        for root in (b64(tree.root(old)), other)
    ]  # fmt: skip
    wrong = await page.evaluate(
        """async (cases) => { const out = []; for (const [old, next, a, b, proof, right] of cases) {
        const [from, to, way] = [v.unb64(a), v.unb64(b), proof.map(v.unb64)];
        const found = await v.verifyConsistency(BigInt(old), BigInt(next), from, to, way);
        if (found !== right) out.push([old, next, right]); } return out; }""",
        cases,
    )
    assert wrong == []


OPEN = """async ([note, vkey]) => { try {
    const head = await v.openCheckpoint(note, await v.parseKeys(vkey));
    return [String(head.size), head.verified];
} catch (error) { return error.message; } }"""


async def test_both_kinds_of_signature_are_verified_and_a_changed_checkpoint_is_refused(page):
    tree = Tree(LARGEST)
    head = Checkpoint(ORIGIN, LARGEST, tree.root(LARGEST))
    first, second = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    der = second.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    keys = (
        VerifierKey(ORIGIN, first.public_key().public_bytes_raw()),
        VerifierKey(ORIGIN, der, ECDSA_P256),
    )
    text = head.text().encode()
    for _ in range(8):  # numbers of an ECDSA signature differ in length
        signed = (first.sign(text), second.sign(text, ec.ECDSA(hashes.SHA256())))
        note = head.note(*zip(keys, signed, strict=True)).decode()
        vkey = "\n".join(map(str, keys))
        assert await page.evaluate(OPEN, [note, vkey]) == [str(LARGEST), [1, 2]]
    changed = note.replace(f"\n{LARGEST}\n", f"\n{LARGEST + 1}\n")
    assert await page.evaluate(OPEN, [changed, vkey]) == "a signature does not verify"
    stranger = str(
        VerifierKey(ORIGIN, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    )
    assert await page.evaluate(OPEN, [note, stranger]) == "no signature by a known key"
    renamed = vkey.replace(ORIGIN, "log.example/two")
    assert "does not belong" in await page.evaluate(OPEN, [note, renamed])


async def test_a_proof_is_read_as_it_was_written_and_a_content_opens_its_commitment(page):
    tree = Tree(LARGEST)
    note = Checkpoint(ORIGIN, LARGEST, tree.root(LARGEST)).text() + "\n— x AAAA\n"
    hashes_of = merkle.inclusion_proof(5, LARGEST, tree.node)
    written = Proof(5, hashes_of, note.encode(), b"extra").text()
    read: Any = await page.evaluate(
        "(text) => { const p = v.parseProof(text); return [String(p.index), p.hashes.length, p.note]; }",
        written,
    )
    assert read == ["5", len(hashes_of), note]
    secret = bytes(range(32))
    payload = json.dumps({"k_rec": secret.hex(), "said": "臺灣"}, ensure_ascii=False)
    leaf = json.dumps({"pc": hmac.digest(secret, payload.encode(), "sha256").hex()})
    ask = "([leaf, payload]) => v.opensCommitment(leaf, payload)"
    assert await page.evaluate(ask, [leaf, payload]) is True
    assert await page.evaluate(ask, [leaf, payload.replace("臺灣", "台灣")]) is False
