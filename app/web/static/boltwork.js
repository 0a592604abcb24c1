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
    button.addEventListener("click", () => payHere(button));
  }
  offer(within);
  count(within);
}

// A wallet of the browser's own, which an extension brings: now, or in a moment.
function offer(within) {
  for (const button of all("[data-webln]", within)) button.hidden = !window.webln;
}

async function copy(button) {
  const says = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copying failed: select the text";
    const text = button.closest("section, article").querySelector("details");
    if (text) text.open = true;
  }
  setTimeout(() => { button.textContent = says; }, 2000);
}

async function payHere(button) {
  if (button.ariaDisabled === "true") return; // not disabled: that would take the focus away
  const says = button.closest("section").querySelector("[data-webln-says]");
  button.ariaDisabled = "true";
  says.textContent = "Confirm the payment in your browser wallet.";
  try {
    await window.webln.enable();
    await window.webln.sendPayment(button.dataset.webln);
    says.textContent = "Sent. This page updates as soon as the payment arrives.";
  } catch (error) {
    const why = typeof error?.message === "string" ? error.message.slice(0, 200) : "";
    const sentence = `Your browser wallet did not pay${why && ` (${why})`}.`;
    says.textContent = `${sentence} Try again, or pay in another way.`;
    button.ariaDisabled = "false";
  }
}

// ------------------------------------------------------------------------------ the countdown

function count(within = document) {
  for (const left of all("[data-until]", within)) {
    const seconds = Math.floor((Date.parse(left.dataset.until) - Date.now()) / 1000);
    if (seconds <= 0) {
      left.textContent = "expired";
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
    // What is wrong with a field stays said there, as long as the field is there to be filled in.
    const wrong = part.querySelector("[aria-describedby~=problem]");
    if (wrong && newer.querySelector(`#${CSS.escape(wrong.id)}`)) continue;
    const held = part.contains(document.activeElement) && document.activeElement;
    const given = all("input", part).map((input) => [input.id, input.value]);
    part.dataset.made = newer.innerHTML;
    part.replaceChildren(...document.importNode(newer, true).childNodes);
    for (const [id, value] of given) {
      const input = id && part.querySelector(`#${CSS.escape(id)}`);
      if (input && value) input.value = value;
    }
    wire(part);
    // What had the focus may be gone: reading goes on from the top of what is new.
    const next = held && held.id && document.getElementById(held.id);
    if (held) (next || document.getElementById("main")).focus({ preventScroll: true });
  }
  for (const said of all("[data-say]")) {
    const newer = fresh.querySelector("[data-say]");
    if (newer && newer.textContent !== said.textContent) said.textContent = newer.textContent;
  }
  draw();
  document.title = fresh.title;
  const main = document.querySelector("main"), other = fresh.querySelector("main");
  main.dataset.version = other.dataset.version;
  if ("ended" in other.dataset) main.dataset.ended = "";
  if (!("poll" in other.dataset)) delete main.dataset.poll;
  else if ("poll" in main.dataset) main.dataset.poll = other.dataset.poll;
}

async function look() {
  const main = document.querySelector("main"), here = main.dataset.here;
  const headers = { Accept: "text/html" };
  if (main.dataset.version) headers["If-None-Match"] = `"${main.dataset.version}"`;
  const answer = await fetch(here, { headers, cache: "no-store" });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Another page altogether; but what somebody is writing is not thrown away.
  const isOther = fresh.querySelector("main").dataset.state !== main.dataset.state;
  const writes = all("input, textarea", main).some((field) => field.value !== field.defaultValue);
  if (isOther && !writes) location.assign(here);
  else take(fresh);
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// The server's own stream, and what the agent writes as it writes.
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

let written = "", costs = 0; // by the agent so far: perhaps before the page has a place for it

function draft(said) {
  written = [...written].slice(0, said.start).join("") + said.text; // in characters, as it counts
  costs = said.costSats;
  draw();
}

function draw() {
  const place = document.querySelector("[data-draft]");
  if (!place || !written) return;
  place.textContent = written;
  const cost = document.querySelector("[data-draft-cost]");
  if (cost) cost.textContent = `About ${costs} sats so far.`;
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
  for (;;) {
    const seconds = document.querySelector("main").dataset.poll;
    if (seconds === undefined) return;
    await pause(Number(seconds) || 3);
    if (!document.hidden) await look().catch(() => {});
  }
}

// ------------------------------------------------------------------------------------ the demo

function demo(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const place = document.getElementById("demo-answer"), button = form.querySelector("button");
    const held = document.activeElement === button;
    button.disabled = true;
    place.textContent = "Waiting for the answer …";
    try {
      const asked = new URLSearchParams(new FormData(form));
      const answer = await fetch(`${form.getAttribute("action")}?${asked}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const said = page.querySelector("#answer") || page.querySelector("#problem") || page.querySelector("main");
      place.replaceChildren(document.importNode(said, true));
      for (const name of ["role", "autofocus"]) place.firstChild.removeAttribute(name);
    } catch {
      place.textContent = "The server doesn’t answer right now. Try again in a minute.";
    } finally {
      button.disabled = false;
      if (held) button.focus();
    }
  });
}

for (const part of all("[data-part]")) part.dataset.made = part.innerHTML;
wire(document);
for (const place of [window, document]) place.addEventListener("webln:ready", () => offer(document));
setInterval(count, 1000);
for (const form of all("[data-demo]")) demo(form);
const live = document.querySelector("main[data-live]");
if (live) stream(live);
poll();
