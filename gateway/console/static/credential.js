/**
 * Enrol an API secret: sealed in this very page (seal.mjs), sent to the API, and waited for until the broker has
 * proven it. The field with the secret has no name, so that no form can carry it; it is emptied whatever comes.
 */

import { putCredential, settled } from "./seal.mjs";

async function request(method, path, body) {
  const headers = { "portcullis-csrf": document.querySelector("meta[name=csrf]").content };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body),
  });
  const content = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(content.detail ?? content.title);
  return content;
}

async function enrol(form) {
  const { account } = form.dataset;
  const secret = form.querySelector("[data-secret]");
  const said = {
    apiKey: form.elements.api_key.value.trim(), secret: secret.value,
    sealing: form.elements.sealing.value, testOrder: form.elements.test_order.checked,
  };
  secret.value = "";
  const made = await putCredential(request, account, said);
  if (made.status === "proposed") return `/console/proposals/${made.proposal_id}?said=proposed`;
  form.querySelector("[data-progress]").textContent = form.dataset.proving;
  await settled(request, account, made.next?.credential_id ?? made.credential_id);
  return `/console/accounts/${account}?said=credential_live`;
}

for (const form of document.querySelectorAll("form[data-enrol]")) {
  const button = form.querySelector("button");
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fault = form.querySelector("[data-fault]");
    fault.textContent = "";
    button.disabled = true;
    form.querySelector("[data-progress]").textContent = form.dataset.sealing;
    try {
      location.assign(await enrol(form));
    } catch (error) {
      fault.textContent = error.message;
      form.querySelector("[data-progress]").textContent = "";
      button.disabled = false;
    }
  });
}
