"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("workspaces");
  if (!list) return;
  const [form, words, rule, workspace, fresh, order, picked, clear] =
    ["filter", "words", "rule", "workspace", "fresh", "order", "picked", "clear"].map(find);
  const severities = [...document.querySelectorAll("input[name=severity]")];
  const groups = [...find("findings").querySelectorAll(".group")].map((box) => ({
    box, open: box.open, count: box.querySelector(".n"), lines: [...box.querySelectorAll("li")],
  }));
  const gaps = [...document.querySelectorAll("#gaps li")];
  const spaces = [...list.children];
  const place = new Map(spaces.map((item, index) => [item, index]));
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
  const number = (count) => count.toLocaleString("en");
  const of = (count, all) => (count === all ? number(all) : `${number(count)} of ${number(all)}`);
  const total = groups.reduce((sum, group) => sum + group.lines.length, 0);
  let bar = null;

  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const grave = severities.filter((box) => box.checked).map((box) => box.value);
    const holds = (item) => wanted.every((word) => text(item).includes(word));
    const here = (item) => !workspace.value || item.dataset.w === workspace.value;
    const judged = grave.length > 0 || rule.value !== "" || Boolean(fresh?.checked);
    const concerned = new Set();
    let found = 0;
    for (const { box, count, lines, open } of groups) {
      const kind = (!grave.length || grave.includes(box.dataset.severity))
        && (!rule.value || box.dataset.rule === rule.value);
      let fits = 0;
      for (const line of lines) {
        const fit = kind && here(line) && (!fresh?.checked || "new" in line.dataset)
          && (!bar || line.dataset.bar === bar.dataset.bar) && holds(line);
        line.hidden = !fit;
        if (fit) {
          fits += 1;
          concerned.add(line.dataset.w);
        }
      }
      box.hidden = !fits;
      box.open = fits < lines.length ? fits > 0 && fits <= 200 : open;
      count.textContent = of(fits, lines.length);
      found += fits;
    }
    for (const gap of gaps) gap.hidden = !(here(gap) && holds(gap));
    let fit = 0;
    for (const item of spaces) {
      item.hidden = !(here(item) && (!judged || concerned.has(item.dataset.w))
        && (!bar || item.dataset.bars.split(" ").includes(bar.dataset.bar))
        && (holds(item) || (wanted.length > 0 && concerned.has(item.dataset.w))));
      fit += !item.hidden;
    }
    find("told").textContent = of(found, total);
    find("shown").textContent = of(fit, spaces.length);
    find("none").hidden = found > 0 || total === 0;
    find("nothing").hidden = fit > 0;
    clear.hidden = !(judged || wanted.length || workspace.value || bar);
  };
  const pick = (next) => {
    bar?.setAttribute("aria-pressed", "false");
    for (const lit of list.querySelectorAll(".lit")) lit.classList.remove("lit");
    bar = next;
    picked.hidden = !bar;
    if (bar) {
      bar.setAttribute("aria-pressed", "true");
      for (const same of list.querySelectorAll(`[data-bar="${bar.dataset.bar}"]`)) same.classList.add("lit");
      find("what").textContent = bar.querySelector(".label").textContent;
    }
    show();
  };
  let waiting = 0;
  words.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120);
  });
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  order.addEventListener("change", () => list.append(...spaces.sort(orders[order.value])));
  for (const each of document.querySelectorAll("button.bar")) {
    each.addEventListener("click", () => {
      pick(each === bar ? null : each);
      if (bar) find("list").scrollIntoView();
    });
  }
  picked.addEventListener("click", () => {
    pick(null);
    words.focus({ preventScroll: true });
  });
  clear.addEventListener("click", () => {
    form.reset();
    pick(null);
    words.focus({ preventScroll: true });
  });
  // A closed group would print its head alone.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll(".group:not([open])")];
    for (const group of closed) group.open = true;
  });
  addEventListener("afterprint", () => {
    for (const group of closed) group.open = false;
  });
  form.hidden = false;
  order.hidden = false;
  find("told").textContent = number(total);
})();
