// The API reference: search the contents, copy samples, mark where one is. Everything is readable without it.
const nav = document.querySelector(".docs-nav");
const search = document.getElementById("docs-search");
const none = document.getElementById("docs-none");
const small = matchMedia("(max-width: 760px)");

nav.open = !small.matches;
small.addEventListener("change", () => { nav.open = !small.matches; });
nav.addEventListener("click", (event) => { if (event.target.closest("a") && small.matches) nav.open = false; });

search.hidden = false;
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of nav.querySelectorAll("[data-words]")) {
    item.hidden = !words.every((word) => item.dataset.words.includes(word));
    shown += !item.hidden;
  }
  for (const group of nav.querySelectorAll("section")) group.hidden = !group.querySelector("li:not([hidden])");
  none.hidden = shown > 0;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  nav.open = true;
  search.focus();
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const links = new Map([...nav.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  const top = entries.find((entry) => entry.isIntersecting);
  if (!top) return;
  nav.querySelector("[aria-current]")?.removeAttribute("aria-current");
  const link = links.get(top.target.id);
  link?.setAttribute("aria-current", "true");
  if (!small.matches) link?.scrollIntoView({ block: "nearest" });
}, { rootMargin: "-60px 0px -70% 0px" });
for (const part of document.querySelectorAll("#start, article")) seen.observe(part);
