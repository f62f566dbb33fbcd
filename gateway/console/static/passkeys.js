/**
 * Security keys and passkeys (WebAuthn level 2): to come in with one (`data-passkey="get"`), to add one ("create").
 *
 * What the API gives and takes is WebAuthn's JSON form, so the browser's own parse…FromJSON and toJSON are used where
 * it has them, and base64url by hand where it has not.
 */

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function decoded(options) {
  const ids = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }));
  const whole = { ...options, challenge: bytes(options.challenge) };
  if (options.user) whole.user = { ...options.user, id: bytes(options.user.id) };
  if (options.allowCredentials) whole.allowCredentials = ids(options.allowCredentials);
  if (options.excludeCredentials) whole.excludeCredentials = ids(options.excludeCredentials);
  return whole;
}

function encoded(credential) {
  if (credential.toJSON) return credential.toJSON();
  const { response } = credential;
  const given = { clientDataJSON: text(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) given[name] = text(response[name]);
  }
  return {
    id: credential.id, rawId: text(credential.rawId), type: credential.type, response: given,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

async function ask(path, body) {
  const csrf = document.querySelector("meta[name=csrf]").content;
  const answer = await fetch(path, {
    method: "POST", credentials: "same-origin", body: JSON.stringify(body),
    headers: {
      "content-type": "application/json", "portcullis-csrf": csrf,
      "idempotency-key": crypto.randomUUID(),
    },
  });
  const content = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(content.detail ?? content.title);
  return content;
}

async function comeIn(form) {
  const { options } = await ask("/v1/sessions/webauthn/challenge", { half_session: form.dataset.half });
  const credential = await navigator.credentials.get({ publicKey: decoded(options) });
  form.elements.credential.value = JSON.stringify(encoded(credential));
  form.submit();
}

async function add(form) {
  const label = form.elements.label.value;
  const { factor_id: id, options } = await ask("/v1/me/factors/webauthn", { label });
  const credential = await navigator.credentials.create({ publicKey: decoded(options) });
  await ask(`/v1/me/factors/${id}/confirm`, { credential: encoded(credential) });
  location.assign("/console/me?said=factor_added");
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fault = form.querySelector("[data-fault]");
    fault.textContent = "";
    try {
      await (form.dataset.passkey === "get" ? comeIn : add)(form);
    } catch (error) {
      fault.textContent = error.message;
    }
  });
}
