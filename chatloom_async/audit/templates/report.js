"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("workspaces"), words = find("words"), order = find("order");
  const all = [...list.children];
  const place = new Map(all.map((item, index) => [item, index]));
  const texts = new Map();
  const text = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  const name = (item) => item.querySelector("bdi").textContent;
  const orders = {
    concern: (a, b) => place.get(a) - place.get(b),
    name: (a, b) => name(a).localeCompare(name(b)),
    agents: (a, b) => b.dataset.agents - a.dataset.agents,
  };
  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = document.querySelector("input[name=only]:checked").value;
    let count = 0;
    for (const item of all) {
      const fits = (only === "all" || item.dataset[only] > 0)
        && wanted.every((word) => text(item).includes(word));
      item.hidden = !fits;
      count += fits;
    }
    find("shown").textContent = count === all.length
      ? `${all.length.toLocaleString("en")} workspaces`
      : `${count.toLocaleString("en")} of ${all.length.toLocaleString("en")} workspaces`;
    find("nothing").hidden = count > 0;
  };
  let waiting = 0;
  words.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 80);
  });
  find("filter").addEventListener("change", show);
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  order.addEventListener("change", () => list.append(...all.sort(orders[order.value])));
  for (const bar of document.querySelectorAll("[data-find]")) {
    bar.addEventListener("click", () => {
      words.value = bar.dataset.find;
      show();
      find("filter").scrollIntoView({ behavior: "smooth" });
    });
  }
})();
