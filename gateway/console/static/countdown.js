/** How long until something expires, every second; at the end the page's own parts are asked for anew. */

function left(seconds) {
  if (seconds <= 0) return "0 s";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

function tick() {
  for (const one of document.querySelectorAll("time[data-until]")) {
    const seconds = (Date.parse(one.dateTime) - Date.now()) / 1000;
    one.textContent = left(seconds);
    one.classList.toggle("soon", seconds < 60);
  }
}

setInterval(tick, 1000);
document.body.addEventListener("htmx:afterSwap", tick);
tick();
