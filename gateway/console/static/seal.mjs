/**
 * Encrypt an API secret where it is typed, so that only the HSM's enrol token can open it (WebCrypto).
 *
 * 1. Fetch the enrolment key: GET /v1/enrolment-key says how the secret is padded, and with which digest.
 * 2. Pad and encrypt in this very page: nothing leaves it in plain text.
 * 3. PUT the envelope. The answer is `proving`: a worker asks the broker, and the credential is live when
 *    the broker has said what the key may do; `settled` waits for that and tells why not.
 *
 * The bytes that we copied are overwritten afterwards. What the browser keeps of what was typed (the
 * string itself, its undo history) no program can reach: clear the field, and do not offer to remember it.
 *
 * No dependencies; the same file runs in node >= 20 (tests/integration/hsm/test_seal_mjs.py).
 */

const SHORT = 64;
const BLOCK = 128;
const MAX_OPENED = 256;

/** The HMAC-SHA-512 key that `secret` is, filled as the token wants it (RFC 2104; hsm/enrol.py). */
export async function hmacKey(secret) {
  if (secret.length === 0) throw new RangeError("the API secret is empty");
  const digested = secret.length > BLOCK;
  const key = digested ? new Uint8Array(await crypto.subtle.digest("SHA-512", secret)) : secret;
  const filled = new Uint8Array(key.length <= SHORT ? SHORT : BLOCK);
  filled.set(key);
  if (digested) key.fill(0);
  return filled;
}

/** Length, secret, zeros to a multiple of 8: for brokers whose own program has to see it (`sdk`). */
export function framed(secret) {
  if (secret.length === 0 || secret.length > MAX_OPENED) {
    throw new RangeError(`a secret has 1 to ${MAX_OPENED} bytes, got ${secret.length}`);
  }
  const filled = new Uint8Array(Math.ceil((secret.length + 2) / 8) * 8);
  filled.set([secret.length >> 8, secret.length & 0xff]);
  filled.set(secret, 2);
  return filled;
}

/**
 * The envelope, base64. `enrolmentKey`: the answer of GET /v1/enrolment-key. `sealing`: "key" or "sdk".
 * Throws where the key asks for something that this version does not do, rather than guess.
 */
export async function seal(enrolmentKey, secret, sealing = "key") {
  const { algorithm, digest, public_key_pem: pem, padded_to_bytes: padded } = enrolmentKey;
  if (algorithm !== "RSA-OAEP" || !["SHA-1", "SHA-256"].includes(digest)) {
    throw new TypeError(`this page cannot encrypt with ${algorithm} and ${digest}`);
  }
  if (padded[0] !== SHORT || padded[1] !== BLOCK) {
    throw new TypeError(`this page cannot pad to ${padded}`);
  }
  if (sealing !== "key" && sealing !== "sdk") throw new TypeError(`no sealing ${sealing}`);
  const key = await crypto.subtle.importKey(
    "spki", der(pem), { name: "RSA-OAEP", hash: digest }, false, ["encrypt"],
  );
  const typed = new TextEncoder().encode(secret);
  const plain = sealing === "key" ? await hmacKey(typed) : framed(typed);
  try {
    return base64(new Uint8Array(await crypto.subtle.encrypt({ name: "RSA-OAEP" }, key, plain)));
  } finally {
    typed.fill(0);
    plain.fill(0);
  }
}

/**
 * Steps 1 to 3. `request(method, path, body)` asks the management API as the caller is signed in, and
 * gives the decoded answer or throws. The answer is the account's credential as it is now, or the
 * proposal that waits for a second person.
 */
export async function putCredential(request, account, { apiKey, secret, sealing = "key", testOrder = false }) {
  const envelope = await seal(await request("GET", "/v1/enrolment-key"), secret, sealing);
  const body = { api_key: apiKey, envelope, sealing, test_order: testOrder };
  return request("PUT", address(account), body);
}

/** Step 3's end: the credential once it is live. Throws with the broker's words where it is refused. */
export async function settled(request, account, credential, { tries = 120, pauseMs = 500 } = {}) {
  for (let tried = 0; tried < tries; tried += 1) {
    const now = await request("GET", address(account));
    if (now.credential_id === credential) return now;
    if (now.next?.credential_id !== credential) throw new Error("replaced or revoked meanwhile");
    if (now.next.state === "refused") throw new Error(now.next.proof.words);
    await new Promise((done) => setTimeout(done, pauseMs));
  }
  throw new Error("the broker has given no clear answer yet; it is asked again by itself");
}

function address(account) {
  return `/v1/accounts/${encodeURIComponent(account)}/credential`;
}

function der(pem) {
  const body = pem.replace(/-----[A-Z ]+-----/g, "").replace(/\s+/g, "");
  return Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
}

function base64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
