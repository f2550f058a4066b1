// Keeps an open page like the server's: on every change it asks for the page again and takes over what is new.
// Without it the forms still work, one page load each. While the stream is open, the chat counts as being looked at.
"use strict";

const $ = (selector, from = document) => from.querySelector(selector);
const scroller = $(".scroll");
const written = new WeakMap(); // element → its HTML as the server wrote it
let stream;
let stuck = true; // to the end of the chat
let refreshing = false;
let again = false;

function toEnd() {
  if (scroller) scroller.scrollTop = scroller.scrollHeight;
}

function takeOver(part, fresh) {
  if (part.dataset.live === "keyed") {
    const known = new Map([...part.children].map((child) => [child.id, child]));
    part.replaceChildren(...[...fresh.children].map((child) => {
      const old = known.get(child.id);
      return old && written.get(old) === child.outerHTML ? old : remember(child);
    }));
  } else if (part.innerHTML !== fresh.innerHTML) {
    const open = [...part.querySelectorAll("details[open]")].map((one) => one.id).filter(Boolean);
    const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("name");
    if (focused === "kind") return; // somebody is choosing
    part.innerHTML = fresh.innerHTML;
    for (const id of open) $(`#${id}`, part)?.setAttribute("open", "");
  }
}

function remember(child) {
  written.set(child, child.outerHTML);
  return child;
}

async function refresh() {
  if (refreshing) return void (again = true);
  refreshing = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh) takeOver(part, fresh);
    }
    if (stuck) toEnd();
    if ($("#typing")) setTimeout(refresh, 5000); // nobody says when typing ends
  } finally {
    refreshing = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

function listen() {
  stream?.close();
  stream = null;
  if (document.hidden || !document.body.dataset.stream) return;
  stream = new EventSource(document.body.dataset.stream);
  stream.onmessage = refresh;
  stream.onopen = refresh;
}

async function post(form, submitter) {
  const data = new FormData(form, submitter);
  const answer = await fetch(form.action, { method: "POST", body: data, redirect: "manual" });
  if (answer.type !== "opaqueredirect" && !answer.ok) {
    const told = await answer.json().catch(() => null);
    alert(told?.error?.message ?? "That did not work");
    return false;
  }
  refresh();
  return true;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.action.includes("/phone/") || form.action.endsWith("/new")) return;
  event.preventDefault();
  if (!form.matches(".composer")) return void post(form, event.submitter);
  const text = form.elements.text;
  if (!text.value.trim() && !form.elements.file.files.length) return;
  const sent = post(form);
  text.value = "";
  fit();
  drop("quoted");
  if (!(await sent)) return;
  drop("attached");
  toEnd();
  text.focus();
});

const composer = $(".composer");
const text = composer?.elements.text;

function fit() {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, 120)}px`;
}

function choose(id, label) {
  const chosen = $(`#${id}`);
  $("span", chosen).textContent = label;
  chosen.hidden = false;
  text.focus();
}

function drop(id) {
  $(`#${id}`).hidden = true;
  if (id === "quoted") composer.elements.message.value = "";
  else composer.elements.file.value = "";
}

if (composer) {
  text.addEventListener("input", fit);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  });
  composer.elements.file.addEventListener("change", ({ target }) => {
    const [file] = target.files;
    if (!file) return drop("attached");
    const image = $("#attached img");
    image.hidden = !file.type.startsWith("image/");
    if (!image.hidden) image.src = URL.createObjectURL(file);
    choose("attached", file.name);
  });
  for (const id of ["quoted", "attached"]) $(`#${id} button`).addEventListener("click", () => drop(id));
  document.addEventListener("click", ({ target }) => {
    const quote = target.closest("[data-quote]");
    if (quote) {
      composer.elements.message.value = quote.dataset.quote;
      choose("quoted", quote.dataset.text);
    }
    if (!target.closest("summary")) for (const one of document.querySelectorAll(".tools[open]")) one.open = false;
  });
  scroller.addEventListener("scroll", () => {
    stuck = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 90;
  });
  scroller.addEventListener("load", () => stuck && toEnd(), true); // pictures grow when they arrive
  for (const child of $("#thread").children) remember(child);
  toEnd();
}

document.addEventListener("visibilitychange", listen);
window.addEventListener("load", listen);
