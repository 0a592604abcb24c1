// A tool's price as one types, and files as pictures. Without it a button asks for the price, and a
// picture is named by its address.
"use strict";

const tool = document.querySelector("[data-tool]");
let asking = 0; // which question was the last: answers to earlier ones are let go

function priced() {
  const number = ++asking;
  setTimeout(() => { if (number === asking) ask(number); }, 300);
}

// What has no price of its own isn't sent to ask for one: a picture may be large.
function fields() {
  const form = new FormData(tool);
  for (const button of tool.querySelectorAll("[data-file-of]")) form.delete(button.dataset.fileOf);
  return new URLSearchParams(form);
}

async function ask(number) {
  const place = document.getElementById("price");
  try {
    const answer = await fetch(tool.dataset.tool, { method: "POST", body: fields() });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== asking) return;
    const newer = fresh.getElementById("price"), problem = fresh.getElementById("problem");
    if (newer && newer.textContent.trim()) place.replaceChildren(...document.importNode(newer, true).childNodes);
    else place.textContent = problem ? problem.textContent : "";
    const said = place.querySelector("#problem");
    if (said) for (const name of ["role", "autofocus", "id"]) said.removeAttribute(name);
  } catch {
    place.textContent = "The server doesn’t answer right now.";
  }
}

const read = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = failed;
  reader.readAsDataURL(file);
});

function choose(button) {
  const field = document.getElementById(button.dataset.fileOf);
  const picker = document.createElement("input");
  picker.type = "file";
  picker.accept = "image/png,image/jpeg,image/webp";
  picker.multiple = field.tagName === "TEXTAREA";
  picker.addEventListener("change", async () => {
    field.value = (await Promise.all([...picker.files].map(read))).join("\n");
  });
  picker.click();
}

if (tool) {
  document.querySelector("[data-ask-price]").hidden = true;
  tool.addEventListener("input", (event) => { if (event.target.matches("[data-prices]")) priced(); });
  for (const button of tool.querySelectorAll("[data-file-of]")) {
    button.hidden = false;
    button.addEventListener("click", () => choose(button));
  }
}
