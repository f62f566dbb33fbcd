/**
 * Be told in this browser, or no more: the page /console/me/notifications.
 *
 * The browser asks its person for permission after a click and never by itself. What the API refuses is said in its
 * own words. A subscription under a key that the tenant has replaced counts as none, and is made anew.
 */

const WORKER = "/console/worker.js";
const part = document.getElementById("push");
const state = document.getElementById("push-state");
const fault = document.getElementById("push-fault");
const form = document.getElementById("push-on");
const off = document.getElementById("push-off");

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

async function fingerprint(endpoint) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(endpoint));
  return [...new Uint8Array(digest).slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function sameKey(subscription) {
  const used = subscription.options?.applicationServerKey;
  if (!used) return true; // a browser that does not say: the API does
  const wanted = bytes(part.dataset.key);
  const seen = new Uint8Array(used);
  return seen.length === wanted.length && seen.every((byte, index) => byte === wanted[index]);
}

async function ask(method, path, body) {
  const headers = { "portcullis-csrf": document.querySelector("meta[name=csrf]").content };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, credentials: "same-origin",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 204) return {};
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail ?? content.title);
  return content;
}

/** The rule that was chosen, as the API takes it: `events severity [minutes]`. */
function rule(chosen) {
  const [events, severity, minutes] = chosen.split(" ");
  return {
    events: events === "*" ? [] : events.split(","),
    severity,
    ...(minutes ? { digest_minutes: Number(minutes) } : {}),
  };
}

async function turnOn(registration) {
  if ((await Notification.requestPermission()) !== "granted") throw new Error(part.dataset.denied);
  const before = await registration.pushManager.getSubscription();
  if (before !== null && !sameKey(before)) await before.unsubscribe();
  const subscription = await registration.pushManager.subscribe({
    userVisibleOnly: true, applicationServerKey: bytes(part.dataset.key),
  });
  const { keys } = subscription.toJSON();
  await ask("POST", "/v1/me/push", {
    endpoint: subscription.endpoint, p256dh: keys.p256dh, auth: keys.auth, public_key: part.dataset.key,
    label: form.elements.label.value, language: part.dataset.language, ...rule(form.elements.rule.value),
  });
}

async function turnOff(registration, device) {
  const subscription = await registration.pushManager.getSubscription();
  if (device) await ask("DELETE", `/v1/me/push/${device}`);
  await subscription?.unsubscribe();
}

async function done(work) {
  fault.textContent = "";
  for (const button of part.querySelectorAll("button")) button.disabled = true;
  try {
    await work();
    location.assign("/console/me/notifications?said=saved");
  } catch (error) {
    fault.textContent = error.message;
    for (const button of part.querySelectorAll("button")) button.disabled = false;
  }
}

async function start() {
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) {
    state.textContent = part.dataset.unable;
    return;
  }
  const registration = await navigator.serviceWorker.register(WORKER, { scope: "/console/" });
  await navigator.serviceWorker.ready;
  const subscription = await registration.pushManager.getSubscription();
  const print = subscription && sameKey(subscription) ? await fingerprint(subscription.endpoint) : "";
  const row = print ? document.querySelector(`[data-fingerprint="${print}"]`) : null;
  state.textContent = row === null ? part.dataset.off : part.dataset.on;
  form.hidden = false;
  off.hidden = row === null;
  row?.querySelector("[data-here]")?.removeAttribute("hidden");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    done(() => turnOn(registration));
  });
  off.addEventListener("click", () => done(() => turnOff(registration, row?.dataset.device)));
}

if (part !== null && part.dataset.key) {
  start().catch((error) => {
    state.textContent = part.dataset.unable;
    fault.textContent = error.message;
  });
}
