// Saves reloads, and opens wallets. Every page works without it: what it shows, the server made.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---------------------------------------------------------------- buttons that need a script

function wire(within) {
  for (const button of all("[data-copy]", within)) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  for (const button of all("[data-webln]", within)) {
    button.hidden = !window.webln;
    button.addEventListener("click", () => payHere(button));
  }
  count(within);
}

async function copy(button) {
  const says = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it below";
  }
  setTimeout(() => { button.textContent = says; }, 2000);
}

async function payHere(button) {
  button.disabled = true;
  try {
    await window.webln.enable();
    await window.webln.sendPayment(button.dataset.webln);
  } catch {
    button.disabled = false; // declined, or the wallet could not: the other ways are still there
  }
}

// ------------------------------------------------------------------------------ the countdown

function count(within = document) {
  for (const left of all("[data-until]", within)) {
    const seconds = Math.floor((Date.parse(left.dataset.until) - Date.now()) / 1000);
    if (seconds <= 0) {
      left.textContent = "over";
    } else if (seconds < 86400) {
      const minutes = Math.floor(seconds / 60);
      left.textContent = `${minutes}:${String(seconds % 60).padStart(2, "0")} left`;
    }
  }
}

// ------------------------------------------------- a page that follows what happens to its job

function take(fresh) {
  for (const part of all("[data-part]")) {
    const newer = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!newer || newer.innerHTML === part.dataset.made) continue;
    const focused = part.contains(document.activeElement) && document.activeElement.id;
    const written = all("input", part).map((input) => [input.id, input.value]);
    part.dataset.made = newer.innerHTML;
    part.replaceChildren(...document.importNode(newer, true).childNodes);
    for (const [id, value] of written) {
      const input = id && part.querySelector(`#${CSS.escape(id)}`);
      if (input && value) input.value = value;
    }
    wire(part);
    if (focused) document.getElementById(focused)?.focus();
  }
  for (const said of all("[data-say]")) {
    const newer = fresh.querySelector("[data-say]");
    if (newer && newer.textContent !== said.textContent) said.textContent = newer.textContent;
  }
  document.title = fresh.title;
  const main = document.querySelector("main"), other = fresh.querySelector("main");
  main.dataset.version = other.dataset.version;
  if ("ended" in other.dataset) main.dataset.ended = "";
  if (!("poll" in other.dataset)) delete main.dataset.poll;
}

async function look() {
  const main = document.querySelector("main"), here = main.dataset.here;
  const answer = await fetch(here, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Another page altogether: nothing that somebody was writing fits it.
  if (fresh.querySelector("main").dataset.state !== main.dataset.state) location.assign(here);
  else take(fresh);
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// The server's own stream, and what the agent writes while it writes it.
function stream(main) {
  if (!window.EventSource || "ended" in main.dataset) return follow(main);
  const source = new EventSource(`${main.dataset.live}/events?lastEventId=${main.dataset.version}`);
  const changed = () => look().catch(() => {});
  source.addEventListener("state", changed);
  source.addEventListener("progress", (event) => draft(JSON.parse(event.data)));
  const over = () => { source.close(); changed().then(() => follow(main)); };
  source.addEventListener("end", over);
  // Cut, it comes back by itself; refused, somebody else must ask.
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) over(); });
}

function draft(said) {
  const place = document.querySelector("[data-draft]");
  if (!place) return;
  const kept = said.start <= place.textContent.length ? place.textContent.slice(0, said.start) : "";
  place.textContent = kept + said.text;
  const cost = document.querySelector("[data-draft-cost]");
  if (cost) cost.textContent = `About ${said.costSats} sats so far.`;
}

async function follow(main) {
  let misses = 0;
  for (;;) {
    try {
      const asks = { headers: { "If-None-Match": `"${main.dataset.version}"` }, cache: "no-store" };
      const answer = await fetch(`${main.dataset.live}?wait=30`, asks);
      if (answer.status === 200) await look();
      else if (answer.status !== 304) throw new Error(answer.status);
      misses = 0;
      if ("ended" in main.dataset) {
        if (!document.querySelector("[data-moving]")) return;
        await pause(3);
      }
    } catch {
      misses += 1;
      await pause(Math.min(30, 2 ** misses));
    }
  }
}

async function poll() {
  while ("poll" in document.querySelector("main").dataset) {
    await pause(3);
    if (!document.hidden) await look().catch(() => {});
  }
}

// ------------------------------------------------------------------------------------ the demo

function demo(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const place = document.getElementById("demo-answer"), button = form.querySelector("button");
    button.disabled = true;
    place.textContent = "The agent reads …";
    try {
      const asked = new URLSearchParams(new FormData(form));
      const answer = await fetch(`${form.getAttribute("action")}?${asked}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const said = page.querySelector("#answer") || page.querySelector("#problem") || page.querySelector("main");
      place.replaceChildren(document.importNode(said, true));
      place.firstChild.removeAttribute("role");
    } catch {
      place.textContent = "Nobody answers just now. Try again in a moment.";
    } finally {
      button.disabled = false;
    }
  });
}

for (const part of all("[data-part]")) part.dataset.made = part.innerHTML;
wire(document);
setInterval(count, 1000);
for (const form of all("[data-demo]")) demo(form);
const live = document.querySelector("main[data-live]");
if (live) stream(live);
poll();
