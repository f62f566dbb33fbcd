/**
 * The console's service worker: shows what a push message says, opens the page it is about, and says plainly that
 * nothing is current where the console cannot be reached.
 *
 * It keeps the offline page and its style, and nothing else: no page, no answer of the API, nothing of a tenant's.
 * Every page and every answer comes from the network or not at all.
 */

const CACHE = "portcullis-offline-1";
const OFFLINE = "/console/static/offline.html";
const KEPT = [OFFLINE, "/console/static/offline.css"];
const ICON = "/console/static/icon-192.png";
const BADGE = "/console/static/badge-96.png";

const WORDS = {
  en: {
    unread: "Something happened that this browser could not read. Open the console.",
    ended: "Notifications have ended in this browser",
    again: "Open the console to turn them on again.",
  },
  zh_Hant: {
    unread: "有一則通知此瀏覽器無法讀取，請開啟主控台查看。",
    ended: "此瀏覽器的通知已終止",
    again: "請開啟主控台重新啟用。",
  },
};
const words = navigator.language.toLowerCase().startsWith("zh") ? WORDS.zh_Hant : WORDS.en;

addEventListener("install", (event) => {
  event.waitUntil(keep());
});

addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers());
});

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll(KEPT.map((path) => new Request(path, { cache: "reload" })));
  await skipWaiting();
}

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  await clients.claim();
}

addEventListener("fetch", (event) => {
  const { request } = event;
  const path = new URL(request.url).pathname;
  if (request.method === "GET" && request.mode === "navigate") event.respondWith(online(request));
  else if (KEPT.includes(path)) event.respondWith(fetch(request).catch(() => caches.match(path)));
});

async function online(request) {
  try {
    return await fetch(request);
  } catch {
    return (await caches.match(OFFLINE)) ?? Response.error();
  }
}

addEventListener("push", (event) => {
  event.waitUntil(show(read(event.data)));
});

/** The note, or words for one that is none: a browser wants every message to be seen. */
function read(data) {
  try {
    const note = data.json();
    if (typeof note.title === "string" && typeof note.body === "string") return note;
  } catch {
    // said below
  }
  return { id: "unread", title: "Portcullis", body: words.unread, url: "/console/", urgent: false };
}

/** The same message again takes the place of itself: its id is its tag. */
function show(note) {
  return registration.showNotification(note.title, {
    body: note.body,
    tag: note.id,
    lang: note.language === "zh_Hant" ? "zh-Hant-TW" : "en",
    timestamp: Date.parse(note.at) || Date.now(),
    requireInteraction: note.urgent === true,
    icon: ICON,
    badge: BADGE,
    data: { url: note.url },
  });
}

addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.url));
});

/** A page of the console and no other, in the window that is open if there is one. */
async function open(wanted) {
  const url = new URL(typeof wanted === "string" ? wanted : "/console/", location.origin);
  const inside = url.origin === location.origin && url.pathname.startsWith("/console/");
  const target = inside ? url.href : new URL("/console/", location.origin).href;
  const windows = await clients.matchAll({ type: "window" });
  const there = windows.find((one) => one.url === target) ?? windows[0];
  if (there === undefined) return clients.openWindow(target);
  await there.focus();
  return there.url === target ? there : there.navigate(target);
}

addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(renew(event.oldSubscription, event.newSubscription));
});

/** The push service gave this browser another address. Who is signed in goes on; else it is said that it ended. */
async function renew(before, after) {
  try {
    const standing = await ask("GET", "/v1/me/push");
    const print = before ? await fingerprint(before.endpoint) : "";
    const device = standing.items.find((one) => one.fingerprint === print);
    const fresh = after ?? (await registration.pushManager.subscribe({
      userVisibleOnly: true, applicationServerKey: standing.public_key,
    }));
    const { keys } = fresh.toJSON();
    const { label, language, events, severity, digest_minutes } = device;
    const { csrf_token: csrf } = await ask("GET", "/v1/sessions/current");
    await ask("POST", "/v1/me/push", {
      endpoint: fresh.endpoint, p256dh: keys.p256dh, auth: keys.auth, public_key: standing.public_key,
      label, language, events, severity, digest_minutes,
    }, csrf);
    await ask("DELETE", `/v1/me/push/${device.device_id}`, undefined, csrf);
  } catch {
    await registration.showNotification(words.ended, {
      body: words.again, tag: "ended", icon: ICON, badge: BADGE, requireInteraction: true,
      data: { url: "/console/me/notifications" },
    });
  }
}

async function ask(method, path, body, csrf) {
  const headers = { "content-type": "application/json" };
  if (csrf) headers["portcullis-csrf"] = csrf;
  const answer = await fetch(path, {
    method, headers, credentials: "same-origin", cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? {} : answer.json();
}

/** As the API says it of each device (gateway/admin/push.py). */
async function fingerprint(endpoint) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(endpoint));
  return [...new Uint8Array(digest).slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
