// The studio's price as one types. Without it a button asks for the price.
"use strict";

const studio = document.querySelector("[data-studio]");
let asking = 0; // which question was the last: answers to earlier ones are let go

function priced() {
  const number = ++asking;
  setTimeout(() => { if (number === asking) ask(number); }, 300);
}

async function ask(number) {
  const body = new URLSearchParams(new FormData(studio));
  try {
    const answer = await fetch("/studio/price", { method: "POST", body });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== asking) return;
    for (const id of ["price", "who"]) show(document.getElementById(id), fresh, fresh.getElementById(id));
    reshape(document.getElementById("shape"), fresh.getElementById("shape"));
  } catch {
    document.getElementById("price").textContent = "The server doesn’t answer right now.";
  }
}

// Another model may allow other sizes. What somebody is choosing is left alone.
function reshape(place, newer) {
  if (!newer || place.contains(document.activeElement)) return;
  if (options(place) !== options(newer)) place.replaceChildren(...document.importNode(newer, true).childNodes);
}

const options = (place) => [...place.querySelectorAll("option")].map((one) => one.value).join();

function show(place, fresh, newer) {
  const problem = fresh.getElementById("problem");
  if (newer && newer.textContent.trim()) {
    place.replaceChildren(...document.importNode(newer, true).childNodes);
  } else if (place.id === "price") {
    place.textContent = problem ? problem.textContent : "";
  }
  const said = place.querySelector("#problem");
  if (said) for (const name of ["role", "autofocus", "id"]) said.removeAttribute(name);
}

if (studio) {
  document.querySelector("[data-ask-price]").hidden = true;
  studio.addEventListener("input", (event) => { if (event.target.matches("[data-prices]")) priced(); });
}

// ------------------------------------- a wallet of the browser's that pays in USDC (EIP-1193, x402)

let purse = window.ethereum; // or the first that makes itself known (EIP-6963)
const usdc = document.querySelector("[data-usdc]");

function order() {
  const given = Object.fromEntries(new FormData(studio));
  const isFilm = given.kind === "video";
  const [width, height] = (given.size || "x").split("x").map(Number);
  const shape = isFilm
    ? { duration: Number(given.duration), resolution: given.resolution, aspect_ratio: given.ratio }
    : { width, height };
  const count = Number(given.count.replaceAll(",", "")) || 0;
  const images = Array.from({ length: count }, () => ({ prompt: given.prompt }));
  return JSON.stringify({ job_type: given.kind, defaults: { model: given.model, ...shape }, images });
}

const FIELDS = ["from:address", "to:address", "value:uint256", "validAfter:uint256", "validBefore:uint256", "nonce:bytes32"];
const DOMAIN = ["name:string", "version:string", "chainId:uint256", "verifyingContract:address"];
const typed = (fields) => fields.map((each) => ({ name: each.split(":")[0], type: each.split(":")[1] }));
const random = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// What a wallet signs: an order to move so much to the shop, once (EIP-3009).
async function signed(terms) {
  const [from] = await purse.request({ method: "eth_requestAccounts" });
  const chainId = Number(terms.network.split(":")[1]);
  await purse.request({ method: "wallet_switchEthereumChain", params: [{ chainId: `0x${chainId.toString(16)}` }] });
  const now = Math.floor(Date.now() / 1000);
  const authorization = {
    from, to: terms.payTo, value: terms.amount, validAfter: String(now - 60),
    validBefore: String(now + terms.maxTimeoutSeconds), nonce: `0x${random(32)}`,
  };
  const domain = { name: terms.extra.name, version: terms.extra.version, chainId, verifyingContract: terms.asset };
  const types = { EIP712Domain: typed(DOMAIN), TransferWithAuthorization: typed(FIELDS) };
  const asked = JSON.stringify({ types, domain, primaryType: "TransferWithAuthorization", message: authorization });
  const signature = await purse.request({ method: "eth_signTypedData_v4", params: [from, asked] });
  return { signature, authorization };
}

const coded = (value) => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))));
const decoded = (text) => JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(text), (one) => one.charCodeAt(0))));

async function refusal(answer) {
  const said = await answer.json().catch(() => ({}));
  return new Error(typeof said.error === "string" ? said.error : `HTTP ${answer.status}`);
}

async function payInUsdc(says) {
  const body = order(), headers = { "Content-Type": "application/json", "Idempotency-Key": random(16) };
  const asked = await fetch("/api/jobs", { method: "POST", body, headers, credentials: "omit" });
  const required = asked.headers.get("PAYMENT-REQUIRED");
  if (asked.status !== 402 || !required) throw await refusal(asked);
  const offer = decoded(required), accepted = offer.accepts[0];
  const dollars = `${accepted.amount.padStart(7, "0").slice(0, -6)}.${accepted.amount.padStart(6, "0").slice(-6)}`;
  says.textContent = `Confirm the payment of ${dollars} USDC in your browser wallet.`;
  const payload = await signed(accepted);
  says.textContent = "Signed. The payment is being settled.";
  headers["PAYMENT-SIGNATURE"] = coded({ x402Version: 2, resource: offer.resource, accepted, payload });
  for (let tries = 0; ; tries += 1) { // the same payment again, never another one: it buys once
    const bought = await fetch("/api/jobs", { method: "POST", body, headers });
    if (bought.ok) return (await bought.json()).jobId;
    if (bought.status !== 503 || tries === 20) throw await refusal(bought);
    const seconds = Number(bought.headers.get("Retry-After")) || 2;
    await new Promise((done) => setTimeout(done, Math.min(seconds, 30) * 1000));
  }
}

async function paysInUsdc() {
  if (usdc.ariaDisabled === "true" || !studio.reportValidity()) return;
  const says = document.querySelector("[data-usdc-says]");
  usdc.ariaDisabled = "true";
  says.textContent = "Asking for the price in USDC.";
  try {
    const id = await payInUsdc(says);
    if (/^[0-9a-f]{32}$/.test(id)) location.assign(`/jobs/${id}`);
  } catch (error) {
    const why = typeof error?.message === "string" ? error.message.slice(0, 300) : "";
    says.textContent = `This was not paid in USDC.${why && ` ${why}`}`;
    usdc.ariaDisabled = "false";
  }
}

if (usdc) {
  const offered = () => { usdc.hidden = !purse; };
  window.addEventListener("eip6963:announceProvider", (event) => { purse ||= event.detail.provider; offered(); });
  window.addEventListener("ethereum#initialized", () => { purse ||= window.ethereum; offered(); });
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  usdc.addEventListener("click", paysInUsdc);
  offered();
}
