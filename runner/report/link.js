// What is pointed at or kept is so in every picture and in the table: one cell has one number everywhere (data-c), and
// its twins in other panels, at the same place of the same axes, are marked with it. Click or Enter keeps a cell, Escape
// lets all go. Values of parallel coordinates (data-f) leave only the cells that have them.

{
  const KEPT = 3;
  const kept = [];  // [cell, slot]
  const names = new Map(), shapes = new Map(), twins = new Map(), cellOf = [];
  for (const shape of document.querySelectorAll("[data-c]")) {
    const cell = +shape.dataset.c;
    if (!shapes.has(cell)) shapes.set(cell, []);
    shapes.get(cell).push(shape);
    const said = shape.getAttribute("aria-label");
    if (said && !names.has(cell)) names.set(cell, said);
  }
  DATA.places.forEach((place, cell) => { if (!twins.has(place)) twins.set(place, []); twins.get(place).push(cell); });
  DATA.cells.forEach((trials, cell) => trials.forEach(trial => { cellOf[trial] = cell; }));
  const sections = [...document.querySelectorAll(".panel")].map(section => ({
    own: new Set([...section.querySelectorAll("[data-c]")].map(shape => +shape.dataset.c)),
    figure: section.querySelector(".curves"),
  })).filter(section => section.figure && DATA.curves.length);
  const many = new Set(DATA.owners).size > 1;
  const called = cell => `${many ? `${DATA.panels[DATA.owners[cell]]}: ` : ""}${names.get(cell) || "a cell"}`;
  const mark = (cells, name) => {
    for (const each of document.querySelectorAll(`.${name}`)) each.classList.remove(name);
    for (const cell of cells) for (const shape of shapes.get(cell) || []) shape.classList.add(name);
  };

  // The curves of a section: its best cell, what is kept, and what is pointed at, or its twin there.
  function curves(section, hovered) {
    const best = section.figure.dataset.best;
    const shown = best ? [[+best, "k0"]] : [];
    for (const [cell, slot] of kept) if (!best || cell !== +best) shown.push([cell, `k${slot}`]);
    const here = hovered === undefined ? undefined : section.own.has(hovered) ? hovered : (twins.get(DATA.places[hovered]) || []).find(cell => section.own.has(cell));
    if (here !== undefined && !shown.some(([cell]) => cell === here)) shown.push([here, "kh"]);
    const plot = section.figure.querySelector(".plot"), key = section.figure.querySelector(".key");
    Curves.draw(plot, shown);
    Curves.caption(key, shown, new Map(shown.map(([cell]) => [cell, section.own.has(cell) ? names.get(cell) : called(cell)])));
    section.pointed = here;
  }

  let pointed;
  function point(cell) {
    if (cell === pointed) return;
    pointed = cell;
    const beside = cell === undefined ? [] : (twins.get(DATA.places[cell]) || []).filter(each => each !== cell);
    mark(cell === undefined ? [] : [cell], "here");
    mark(beside, "twin");
    for (const line of document.querySelectorAll("#table tbody tr")) line.classList.toggle("here", cell !== undefined && cellOf[+line.dataset.t] === cell);
    for (const section of sections)
      if (section.pointed !== undefined || (cell !== undefined && [cell, ...beside].some(each => section.own.has(each)))) curves(section, cell);
  }

  const tray = document.getElementById("kept"), list = tray.querySelector("ul");
  function keep(cell) {
    const at = kept.findIndex(([each]) => each === cell);
    if (at >= 0) kept.splice(at, 1);
    else {
      if (kept.length === KEPT) kept.shift();
      kept.push([cell, [1, 2, 3].find(slot => !kept.some(([, taken]) => taken === slot))]);
    }
    show();
  }
  function show() {
    mark(kept.map(([cell]) => cell), "chosen");
    for (const [cell, all] of shapes) for (const shape of all)
      if (shape.getAttribute("role") === "button") shape.setAttribute("aria-pressed", kept.some(([each]) => each === cell));
    list.replaceChildren(...kept.map(([cell, slot]) => {
      const item = make("li"), swatch = make("svg", {width: 26, height: 10, "aria-hidden": "true"});
      const away = make("button", {type: "button", "aria-label": `let go: ${called(cell)}`}, "×");
      swatch.append(make("path", {class: `trace thick k${slot}`, d: "M1 5H25"}));
      away.addEventListener("click", () => keep(cell));
      item.append(swatch, make("bdi", {}, called(cell)), away);
      return item;
    }));
    tray.hidden = !kept.length;
    rows();
    for (const section of sections) curves(section);
  }
  function rows() {
    for (const line of document.querySelectorAll("#table tbody tr")) {
      const chosen = kept.some(([cell]) => cell === cellOf[+line.dataset.t]);
      line.classList.toggle("chosen", chosen);
      line.querySelector("button")?.setAttribute("aria-pressed", chosen);
    }
  }
  document.addEventListener("drawn", rows);
  tray.querySelector(".all").addEventListener("click", () => { kept.length = 0; show(); });

  // A word beside the pointer.
  const tip = document.getElementById("tip");
  function say(cell, event) {
    tip.hidden = cell === undefined;
    if (tip.hidden) return;
    tip.textContent = called(cell);
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18}px`;
  }

  const of = event => {
    const shape = event.target.closest?.("[data-c]"), line = event.target.closest?.("#table tbody tr");
    return shape ? +shape.dataset.c : line ? cellOf[+line.dataset.t] : undefined;
  };
  document.addEventListener("pointerover", event => { point(of(event)); });
  document.addEventListener("pointermove", event => { if (event.pointerType === "mouse") say(event.target.closest?.("[data-c]") ? of(event) : undefined, event); });
  document.documentElement.addEventListener("pointerleave", () => { point(undefined); tip.hidden = true; });
  document.addEventListener("focusin", event => { point(of(event)); });
  document.addEventListener("click", event => {
    const cell = of(event);
    if (cell !== undefined && (event.target.closest("[data-c]") || event.target.closest("td button"))) keep(cell);
  });

  function nearest(cells, from, dx, dy) {
    const middle = cell => { const box = cell.getBBox(); return [box.x + box.width / 2, box.y + box.height / 2]; };
    const [x, y] = middle(from);
    let best = null, least = Infinity;
    for (const cell of cells) {
      const [cx, cy] = middle(cell), along = (cx - x) * dx + (cy - y) * dy, aside = Math.abs((cx - x) * dy) + Math.abs((cy - y) * dx);
      if (along > 0.5 && aside <= along && along + aside < least) { least = along + aside; best = cell; }
    }
    return best;
  }

  document.addEventListener("keydown", event => {
    if (event.key === "Escape" && kept.length && event.target !== document.getElementById("search")) { kept.length = 0; show(); return; }
    const cell = event.target.closest?.(".cells [data-c]"), value = event.target.closest?.("[data-f]");
    if (event.key === "Enter" || event.key === " ") {
      if (cell) { event.preventDefault(); keep(+cell.dataset.c); }
      if (value) { event.preventDefault(); choose(value); }
      return;
    }
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (!way || !cell) return;
    event.preventDefault();
    const next = nearest(cell.closest(".map").querySelectorAll(".cells [data-c]"), cell, ...way);
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  for (const map of document.querySelectorAll(".map")) {
    const best = map.closest(".panel").querySelector(".curves")?.dataset.best;
    const first = map.querySelector(`.cells [data-c="${best}"]`) || map.querySelector(".cells [data-c]");
    if (first) first.tabIndex = 0;
  }

  // Values that cells must have: of one axis any of those chosen, of several all.
  function choose(value) {
    value.setAttribute("aria-pressed", value.getAttribute("aria-pressed") !== "true");
    const picture = value.closest(".parallel"), wanted = new Map();
    for (const each of picture.querySelectorAll('[data-f][aria-pressed="true"]')) {
      const [axis, number] = each.dataset.f.split(",").map(Number);
      wanted.set(axis, [...wanted.get(axis) || [], number]);
    }
    const lines = [...picture.querySelectorAll(".lines [data-c]")];
    let left = 0;
    picture.classList.toggle("filtered", wanted.size > 0);
    for (const line of lines) {
      const values = line.dataset.v.split(",");
      const out = [...wanted].some(([axis, numbers]) => values[axis] === "" || !numbers.includes(+values[axis]));
      for (const shape of shapes.get(+line.dataset.c)) shape.classList.toggle("out", out);
      left += !out;
    }
    picture.closest("figure").querySelector(".chosen-cells").textContent = wanted.size ? `${left.toLocaleString("en")} of ${lines.length.toLocaleString("en")} cells.` : "";
  }
  document.addEventListener("click", event => { const value = event.target.closest?.("[data-f]"); if (value) choose(value); });

  for (const section of sections) {
    section.figure.hidden = false;
    Curves.choice(section.figure, () => { for (const each of sections) curves(each); });
    curves(section);
  }
}
