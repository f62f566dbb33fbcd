/**
 * What the console does in the browser: live parts, ages that go on, the viewer's zone, things to copy.
 *
 * Live: one EventSource for the page. However many events come, parts are asked for anew once a second at most
 * (`live` on the body) or once in three (`calm`, for what costs more questions); htmx does the rest. The last event
 * always counts. While the stream is away, every ten seconds all the same, and the bar says that it is not live.
 */

const BEATS = { live: 1000, calm: 3000 };
const AWAY_MS = 10000;
const STREAM = "/v1/events?kinds=signal,order,change,alert";

const body = document.body;

function setZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone) return;
  const year = 365 * 86400;
  document.cookie = `portcullis_zone=${zone}; path=/console; max-age=${year}; secure; samesite=strict`;
  const shown = body.dataset.zone;
  const tried = sessionStorage.getItem("zone");
  if (shown && shown !== zone && tried !== zone) {
    sessionStorage.setItem("zone", zone); // once: a zone that the server does not know stays UTC
    if (document.querySelector("main form") === null) location.reload();
  }
}

function span(seconds) {
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name}`;
  }
  return `${Math.floor(seconds)} s`;
}

function tick() {
  const now = Date.now();
  for (const one of document.querySelectorAll("time.age")) {
    one.textContent = span(Math.max(0, (now - Date.parse(one.dateTime)) / 1000));
  }
}

/** One event on the body for however many hits: at once, or when the last one is `pause` ago. */
class Beat {
  constructor(name, pause) {
    this.name = name;
    this.pause = pause;
    this.last = 0;
    this.waiting = null;
  }

  hit() {
    if (this.waiting !== null) return;
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.last = Date.now();
      window.htmx?.trigger(body, this.name);
    }, Math.max(0, this.last + this.pause - Date.now()));
  }
}

/** What happens, as beats. A page in the background waits until somebody looks at it. */
class Live {
  constructor() {
    this.beats = Object.entries(BEATS).map(([name, pause]) => new Beat(name, pause));
    this.away = null;
    this.sign = document.getElementById("live");
    document.addEventListener("visibilitychange", () => this.changed());
    this.open();
  }

  open() {
    const source = new EventSource(STREAM);
    source.onopen = () => this.tell(true);
    source.onerror = () => {
      this.tell(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), AWAY_MS);
    };
    for (const kind of body.dataset.kinds.split(" ")) source.addEventListener(kind, () => this.changed());
    addEventListener("pagehide", () => source.close());
  }

  changed() {
    if (!document.hidden) this.beats.forEach((beat) => beat.hit());
  }

  tell(on) {
    const { sign } = this;
    sign.textContent = on ? sign.dataset.on : sign.dataset.off;
    sign.classList.toggle("on", on);
    clearInterval(this.away);
    if (on) this.changed();
    else this.away = setInterval(() => this.changed(), AWAY_MS);
  }
}

/** Do not take away what somebody is using: an open list, a field with the cursor. */
function spare(event) {
  const target = event.detail.target;
  if (!(event.detail.requestConfig?.triggeringEvent?.type in BEATS)) return;
  const used = document.activeElement;
  const more = target.querySelector("tr.more") === null && target.dataset.grown === "yes";
  if (more || (target.contains(used) && used.matches("input, select, textarea"))) event.preventDefault();
}

function grown(event) {
  event.detail.target.closest("[hx-get][hx-trigger]")?.setAttribute("data-grown", "yes");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button === null) return;
  const from = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(from.textContent.trim());
  button.dataset.done = "yes";
});

function joinByFragment() {
  const found = location.hash.match(/^#invitation=([^&]+)/);
  if (found === null) return;
  const field = document.getElementById("invitation");
  if (field === null) {
    location.replace(`/console/join${location.hash}`);
    return;
  }
  field.value = decodeURIComponent(found[1]);
  history.replaceState(null, "", location.pathname); // it is not to stay in the browser's history
  document.getElementById("password").focus();
}

/** Whoever sends a form leaves: what is asked for meanwhile must not lead the browser elsewhere. */
function leave(event) {
  if (event.defaultPrevented) return;
  for (const step of ["htmx:beforeRequest", "htmx:beforeOnLoad"]) {
    body.addEventListener(step, (other) => other.preventDefault());
  }
}

addEventListener("submit", leave);
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // out of the browser's memory: nothing of it is current
});
setZone();
setInterval(tick, 1000);
joinByFragment();
body.addEventListener("htmx:beforeSwap", spare);
body.addEventListener("htmx:afterSwap", (event) => {
  tick();
  if (event.detail.target.matches("tr")) grown(event);
});
if (body.dataset.kinds !== undefined) new Live();
