"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("workspaces");
  if (!list) return;
  const section = find("list"), words = find("words"), order = find("order"), picked = find("picked");
  const all = [...list.children];
  const place = new Map(all.map((item, index) => [item, index]));
  const texts = new Map();
  const name = (item) => item.querySelector("bdi").textContent;
  const text = (item) => {
    if (!texts.has(item)) {
      const inside = item.querySelector(".inside").textContent;
      texts.set(item, `${name(item)}\n${inside}`.toLowerCase());
    }
    return texts.get(item);
  };
  const orders = {
    concern: (a, b) => place.get(a) - place.get(b),
    name: (a, b) => name(a).localeCompare(name(b)),
    agents: (a, b) => b.dataset.agents - a.dataset.agents,
  };
  let bar = null;
  const count = (number) => number.toLocaleString("en");
  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = document.querySelector("input[name=only]:checked").value;
    let fit = 0;
    for (const item of all) {
      const fits = (only === "all" || item.dataset[only] > 0)
        && (!bar || item.dataset.bars.split(" ").includes(bar.dataset.bar))
        && wanted.every((word) => text(item).includes(word));
      item.hidden = !fits;
      fit += fits;
    }
    find("shown").textContent = fit === all.length ? count(fit) : `${count(fit)} of ${count(all.length)}`;
    find("nothing").hidden = fit > 0;
    section.classList.toggle("narrowed", fit < all.length);
  };
  // The first row comes to where the eye is: the filter sticks, the rows behind it scroll away.
  const rise = () => {
    if (section.getBoundingClientRect().top < 0) section.scrollIntoView({ behavior: "instant" });
  };
  const change = () => {
    show();
    rise();
  };
  const pick = (next) => {
    bar?.setAttribute("aria-pressed", "false");
    for (const lit of list.querySelectorAll(".lit")) lit.classList.remove("lit");
    bar = next;
    picked.hidden = !bar;
    if (!bar) return;
    bar.setAttribute("aria-pressed", "true");
    for (const same of list.querySelectorAll(`[data-bar="${bar.dataset.bar}"]`)) same.classList.add("lit");
    find("what").textContent = bar.querySelector(".label").textContent;
  };
  let waiting = 0;
  words.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(change, 80);
  });
  for (const choice of document.querySelectorAll("input[name=only]")) choice.addEventListener("change", change);
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  order.addEventListener("change", () => {
    list.append(...all.sort(orders[order.value]));
    rise();
  });
  for (const each of document.querySelectorAll("button.bar")) {
    each.addEventListener("click", () => {
      pick(each === bar ? null : each);
      show();
      if (!bar) return;
      section.scrollIntoView();
      picked.focus({ preventScroll: true });
    });
  }
  picked.addEventListener("click", () => {
    pick(null);
    change();
    words.focus({ preventScroll: true });
  });
  show();
})();
