// Finds operations and shapes by what is written in them. Without it, the page has them all.
"use strict";

const find = document.querySelector("[data-find]");
const field = find.querySelector("input"), found = find.querySelector("[data-found]");
const parts = [...document.querySelectorAll(".op")].map((part) => ({
  part, text: part.textContent.toLowerCase(), id: part.getAttribute("aria-labelledby"),
}));
const links = new Map(
  [...document.querySelectorAll(".toc li a")].map((link) => [link.hash.slice(1), link.parentElement]),
);

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { part, text, id } of parts) {
    const is = words.every((word) => text.includes(word));
    part.hidden = !is;
    if (links.has(id)) links.get(id).hidden = !is;
    count += is;
  }
  document.querySelector(".guides").hidden = words.length > 0;
  found.textContent = words.length ? `${count} found` : "";
}

// Where an address names what a search has hidden, or what is folded, it is shown.
function reveal() {
  const to = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = to && to.closest(".op");
  if (!part) return;
  if (part.hidden) { field.value = ""; show(); }
  for (const folded of part.querySelectorAll("details")) folded.open = true;
  to.scrollIntoView();
}

find.hidden = false;
field.addEventListener("input", show);
addEventListener("hashchange", reveal);
reveal();
