/**
 * The audit log's verifier, in the reader's own browser: nothing of what it says is taken from our server's word.
 *
 * 1. A checkpoint (C2SP tlog-checkpoint) is read, and its signatures are verified with the log's keys (signed-note:
 *    Ed25519, and ECDSA P-256 over SHA-256 where the log has such a key).
 * 2. The keys are those that this browser remembers of the log: what was seen first is what has to stay.
 * 3. The record's hash leads, by its inclusion proof, to the checkpoint's root (RFC 9162, 2.1.3.2).
 * 4. What the record says is what its leaf commits to: HMAC-SHA256 under the key in the payload.
 * 5. The newest checkpoint continues this one, and the one that this browser remembers (RFC 9162, 2.1.4.2).
 *
 * A browser without Ed25519 says so, and relies on P-256; without either the step counts as not done. The functions
 * are pure but for WebCrypto; what is below "The page" is the only part that touches it. No dependencies.
 */

const ED25519 = 1;
const P256 = 2;
const HASH_BYTES = 32;
const PROOF = "c2sp.org/tlog-proof@v1";
const text = new TextEncoder();

export class Malformed extends Error {}

export const unb64 = (encoded) => {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(encoded)) {
    throw new Malformed("not base64");
  }
  return Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
};
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const same = (one, other) =>
  one.length === other.length && one.every((byte, index) => byte === other[index]);

async function sha256(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

export const leafHash = (leaf) => sha256(Uint8Array.of(0), leaf);
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

/** Whether the leaf stands at `index` of the tree. Sizes are BigInt: a log may outgrow 32 bits. */
export async function verifyInclusion(hash, index, size, proof, root) {
  if (index < 0n || index >= size || proof.some((one) => one.length !== HASH_BYTES)) return false;
  let fn = index, sn = size - 1n, running = hash;
  for (const sibling of proof) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      running = await nodeHash(sibling, running);
      while (!(fn & 1n) && fn) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      running = await nodeHash(running, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && same(running, root);
}

/** Whether the newer tree only adds to the older one, which has at least one leaf. */
export async function verifyConsistency(older, newer, olderRoot, newerRoot, proof) {
  if (older <= 0n || older > newer || proof.some((one) => one.length !== HASH_BYTES)) return false;
  if (older === newer) return proof.length === 0 && same(olderRoot, newerRoot);
  const path = older & (older - 1n) ? [...proof] : [olderRoot, ...proof];
  if (path.length === 0) return false;
  let fn = older - 1n, sn = newer - 1n;
  while (fn & 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  let first = path[0], second = path[0];
  for (const step of path.slice(1)) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      first = await nodeHash(step, first);
      second = await nodeHash(step, second);
      while (!(fn & 1n) && fn) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      second = await nodeHash(second, step);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && same(first, olderRoot) && same(second, newerRoot);
}

/** The log's keys, one on each line: name+id+base64(type, key). */
export async function parseKeys(lines) {
  const keys = [];
  for (const line of lines.split("\n").filter((one) => one.trim() !== "")) {
    const [name, id, ...rest] = line.trim().split("+");
    const data = unb64(rest.join("+"));
    const [type, key] = [data[0], data.slice(1)];
    if (type !== ED25519 && type !== P256) throw new Malformed("a key of an unknown type");
    const named = type === P256 ? key : new Uint8Array([...text.encode(`${name}\n`), type, ...key]);
    const own = hex((await sha256(named)).slice(0, 4));
    if (own !== id) throw new Malformed("a key's id does not belong to it");
    keys.push({ name, id, type, key, line: line.trim() });
  }
  if (keys.length === 0) throw new Malformed("no key");
  return keys;
}

/** Text and signature lines of a signed note; nothing is verified. */
export function splitNote(note) {
  const at = note.lastIndexOf("\n\n");
  const block = note.slice(at + 2);
  if (at < 0 || !block.endsWith("\n")) throw new Malformed("not a signed note");
  const signatures = block.slice(0, -1).split("\n").map((line) => {
    const [dash, name, encoded, ...more] = line.split(" ");
    if (dash !== "—" || encoded === undefined || more.length) throw new Malformed("not a signature line");
    const data = unb64(encoded);
    return { name, id: hex(data.slice(0, 4)), signature: data.slice(4) };
  });
  return { body: note.slice(0, at + 1), signatures };
}

/** Origin, size and root of a checkpoint's text. */
export function parseCheckpoint(body) {
  const [origin, size, root, ...end] = body.split("\n");
  if (end.length !== 1 || end[0] !== "" || !/^(?:0|[1-9]\d{0,18})$/.test(size)) {
    throw new Malformed("not a checkpoint");
  }
  const digest = unb64(root);
  if (digest.length !== HASH_BYTES) throw new Malformed("a root has 32 bytes");
  return { origin, size: BigInt(size), root: digest };
}

/**
 * The checkpoint of a note, and which types of its keys' signatures were verified. `verified` is empty where the
 * browser can verify none of them. Throws where one does not verify, or none is by a known key.
 */
export async function openCheckpoint(note, keys) {
  const { body, signatures } = splitNote(note);
  const head = parseCheckpoint(body);
  const verified = [], unable = [];
  let known = 0;
  for (const key of keys) {
    if (key.name !== head.origin) throw new Malformed("a checkpoint of another log");
    for (const line of signatures.filter((one) => one.name === key.name && one.id === key.id)) {
      known += 1;
      const good = await signatureIsGood(key, line.signature, text.encode(body));
      if (good === null) unable.push(key.type);
      else if (good) verified.push(key.type);
      else throw new Malformed("a signature does not verify");
    }
  }
  if (known === 0) throw new Malformed("no signature by a known key");
  return { ...head, note, verified, unable };
}

/** null: this browser does not know the algorithm. */
async function signatureIsGood(key, signature, message) {
  try {
    if (key.type === ED25519) {
      const imported = await crypto.subtle.importKey("raw", key.key, "Ed25519", false, ["verify"]);
      return await crypto.subtle.verify("Ed25519", imported, signature, message);
    }
    const curve = { name: "ECDSA", namedCurve: "P-256" };
    const imported = await crypto.subtle.importKey("spki", key.key, curve, false, ["verify"]);
    const raw = rawOfDer(signature);
    return await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, imported, raw, message);
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    throw error;
  }
}

/** r and s of an ECDSA signature, 32 bytes each, as WebCrypto wants them. */
function rawOfDer(der) {
  const whole = new Uint8Array(64);
  if (der[0] !== 0x30 || der[1] !== der.length - 2) throw new Malformed("not an ECDSA signature");
  let at = 2;
  for (const end of [32, 64]) {
    const length = der[at + 1];
    const number = der.slice(at + 2, at + 2 + length);
    const bare = number[0] === 0 ? number.slice(1) : number;
    if (der[at] !== 2 || bare.length > 32) throw new Malformed("not an ECDSA signature");
    whole.set(bare, end - bare.length);
    at += 2 + length;
  }
  if (at !== der.length) throw new Malformed("not an ECDSA signature");
  return whole;
}

/** Index, hashes and checkpoint of a tlog-proof; `extra` is passed by. */
export function parseProof(written) {
  const at = written.indexOf("\n\n");
  const lines = written.slice(0, at).split("\n");
  if (at < 0 || lines.shift() !== PROOF) throw new Malformed("not a proof");
  if (lines[0]?.startsWith("extra ")) lines.shift();
  const index = /^index (0|[1-9]\d{0,18})$/.exec(lines.shift() ?? "");
  if (index === null) throw new Malformed("a proof names its index");
  return { index: BigInt(index[1]), hashes: lines.map(unb64), note: written.slice(at + 2) };
}

/** Whether the payload is what the leaf commits to. */
export async function opensCommitment(leaf, payload) {
  const { pc } = JSON.parse(leaf);
  const secret = unhex(JSON.parse(payload).k_rec ?? "");
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", secret, hmac, false, ["sign"]);
  const made = new Uint8Array(await crypto.subtle.sign("HMAC", key, text.encode(payload)));
  return hex(made) === pc;
}

/* ---- The page ---- */

async function fetched(path) {
  const answer = await fetch(path, { credentials: "same-origin", headers: { accept: "application/json" } });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail ?? content.title);
  return content;
}

const address = (size) => `/v1/audit/checkpoint${size === undefined ? "" : `?since=${size}`}`;

/** What this browser has seen of a log: its keys, and the newest checkpoint that it verified. */
const memory = {
  of: (origin) => JSON.parse(localStorage.getItem(`portcullis log ${origin}`) ?? "null"),
  keep: (origin, seen) => localStorage.setItem(`portcullis log ${origin}`, JSON.stringify(seen)),
};

class Walk {
  constructor(list) {
    this.list = list;
    this.failed = false;
    this.partly = false;
  }

  tell(step, state, note = "") {
    const line = this.list.querySelector(`[data-step=${step}]`);
    line.dataset.state = state;
    line.querySelector(".mark").textContent = { well: "✓", wrong: "✗", part: "–", now: "…" }[state];
    line.querySelector("[data-note]").textContent = line.dataset[note] ?? note;
    this.failed ||= state === "wrong";
    this.partly ||= state === "part";
  }

  async step(step, work) {
    this.tell(step, "now");
    try {
      const [state, note] = await work();
      this.tell(step, state, note);
      return state !== "wrong";
    } catch (error) {
      this.tell(step, "wrong", error.message);
      return false;
    }
  }
}

async function run(list) {
  const walk = new Walk(list);
  const index = list.dataset.index;
  let record, head, keys, mine;
  await walk.step("checkpoint", async () => {
    head = await fetched(address());
    keys = await parseKeys(head.vkey);
    if (index !== undefined) {
      record = await fetched(`/v1/audit/records/${index}`);
      if (record.proof === null) return ["part", "waiting"];
    }
    mine = record ? parseProof(record.proof) : { note: head.checkpoint };
    return ["well", `${head.log} · ${parseCheckpoint(splitNote(mine.note).body).size}`];
  });
  if (mine === undefined) return walk;
  const seen = memory.of(head.log);
  await walk.step("keys", async () => {
    if (seen === null) return ["well", "first"];
    const known = new Set(head.vkey.split("\n"));
    return seen.vkey.split("\n").every((key) => known.has(key)) ? ["well", "same"] : ["wrong", "other"];
  });
  let checked;
  await walk.step("signature", async () => {
    checked = await openCheckpoint(mine.note, keys);
    const names = checked.verified.map((type) => (type === ED25519 ? "Ed25519" : "ECDSA P-256"));
    return names.length ? ["well", names.join(", ")] : ["part", "unable"];
  });
  if (checked === undefined) return walk;
  if (record) {
    await walk.step("inclusion", async () => {
      const leaf = text.encode(record.leaf);
      const hash = await leafHash(leaf);
      const seen = document.getElementById("leaf").textContent.trim() === record.leaf; // what the page shows is it
      const right = seen && mine.index === BigInt(index) && JSON.parse(record.leaf).i === Number(index);
      const good = right && (await verifyInclusion(hash, mine.index, checked.size, mine.hashes, checked.root));
      return good ? ["well", `${mine.hashes.length} × SHA-256 → ${hex(checked.root)}`] : ["wrong", "not"];
    });
    await walk.step("commitment", async () => {
      if (record.payload === null) return ["part", "closed"];
      return (await opensCommitment(record.leaf, record.payload)) ? ["well", "opens"] : ["wrong", "not"];
    });
  }
  await walk.step("consistency", async () => {
    const last = await continues(checked, keys);
    if (seen === null) return [last ? "well" : "wrong", last ? "first" : "not"];
    const old = { size: BigInt(seen.size), root: unb64(seen.root) };
    const newest = last && (await continues(old, keys));
    return newest ? ["well", `${seen.size} → ${newest.size}`] : ["wrong", "not"];
  });
  if (!walk.failed) {
    const newest = await openCheckpoint((await fetched(address())).checkpoint, keys);
    const kept = seen === null || newest.size >= BigInt(seen.size);
    if (kept) memory.keep(head.log, { vkey: head.vkey, size: String(newest.size), root: b64(newest.root) });
  }
  return walk;
}

const b64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** The newest checkpoint, if it continues `old`; else null. */
async function continues(old, keys) {
  const head = await fetched(address(old.size));
  const newest = await openCheckpoint(head.checkpoint, keys);
  const hashes = (head.consistency ?? []).map(unb64);
  return (await verifyConsistency(old.size, newest.size, old.root, newest.root, hashes)) ? newest : null;
}

function begin(button) {
  const list = document.getElementById(button.dataset.verify);
  const verdict = document.getElementById(`${button.dataset.verify}-verdict`);
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    list.hidden = false;
    verdict.textContent = verdict.dataset.now;
    verdict.className = "verdict";
    const walk = await run(list);
    const said = walk.failed ? "wrong" : walk.partly ? "part" : "well";
    verdict.textContent = verdict.dataset[said];
    verdict.className = `verdict ${said === "well" ? "well" : said === "wrong" ? "wrong" : "warning"}`;
    button.disabled = false;
  });
}

if (typeof document !== "undefined") document.querySelectorAll("button[data-verify]").forEach(begin);
