// Looks whether a wallet has signed a code, and has a browser's wallet sign in. Works without it.
"use strict";

const scan = document.querySelector("[data-scan]");
const pauseOf = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// What the button does, again and again, until a wallet has signed or the code is too old.
async function scanned() {
  const says = document.querySelector("[data-scan-says]");
  scan.querySelector("[data-scanned]").hidden = true;
  says.textContent = "Waiting for your wallet.";
  for (let misses = 0; misses < 5; ) {
    await pauseOf(2);
    if (document.hidden) continue;
    try {
      const body = new URLSearchParams(new FormData(scan));
      const answer = await fetch(scan.action, { method: "POST", body, redirect: "manual" });
      if (answer.type === "opaqueredirect") return location.assign("/account");
      if (!answer.ok) {
        says.textContent = problemOf(await answer.text());
        return;
      }
      misses = 0;
    } catch {
      misses += 1;
    }
  }
  says.textContent = "The server can’t be reached. Reload the page to get another code.";
}

// What the server says on the page that it answered with.
function problemOf(html) {
  const said = new DOMParser().parseFromString(html, "text/html").querySelector("#problem");
  return said?.textContent.trim() || "This code is too old now. Reload the page to get another one.";
}

let ethereum = window.ethereum;
const part = document.querySelector("[data-ethereum]");
const siwe = document.querySelector("[data-siwe]");

// What a form takes out, and to where, as the message that approves it is asked for.
function takenOut(form) {
  const said = (name) => form?.elements[name]?.value.trim() || "";
  const sats = said("sats").replaceAll(",", ""), usdc = said("usdc"), to = usdc ? said("wallet") : said("payee");
  const where = !usdc && /^ln(?!url)/i.test(to) ? "invoice" : "to";
  return { ...(usdc ? { amountUsdc: usdc } : sats && { amountSats: sats }), ...(to && { [where]: to }) };
}

// A message of ours, and what the browser's wallet has signed it with.
async function signed(form) {
  const [address] = await ethereum.request({ method: "eth_requestAccounts" });
  const asked = await fetch(`/api/auth/nonce?${new URLSearchParams({ address, ...takenOut(form) })}`);
  const { message, error } = await asked.json();
  if (!message) throw new Error(error);
  const hex = [...new TextEncoder().encode(message)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const signature = await ethereum.request({ method: "personal_sign", params: [`0x${hex}`, address] });
  return { message, signature };
}

async function signsIn(proof) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/auth/siwe", { method: "POST", headers, body: JSON.stringify(proof) });
  if (!answer.ok) throw new Error((await answer.json()).error);
  location.assign("/account");
}

async function asksWallet() {
  if (siwe.ariaDisabled === "true") return;
  const says = document.querySelector("[data-siwe-says]"), form = siwe.closest("[data-siwe-form]");
  siwe.ariaDisabled = "true";
  says.textContent = "Confirm in your browser wallet.";
  try {
    const proof = await signed(form);
    if (!form) return await signsIn(proof);
    for (const [name, value] of Object.entries(proof)) form.elements[name].value = value;
    form.requestSubmit();
  } catch (error) {
    const why = typeof error?.message === "string" ? error.message.slice(0, 300) : "";
    says.textContent = `${form ? "It isn’t confirmed." : "You are not signed in."}${why && ` ${why}`}`;
    siwe.ariaDisabled = "false";
  }
}

if (scan) scanned();
if (part) {
  const offered = () => { part.hidden = !ethereum; };
  window.addEventListener("eip6963:announceProvider", (event) => { ethereum ||= event.detail.provider; offered(); });
  window.addEventListener("ethereum#initialized", () => { ethereum ||= window.ethereum; offered(); });
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  siwe.addEventListener("click", asksWallet);
  offered();
}
