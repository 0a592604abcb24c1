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
