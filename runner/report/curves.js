// Loss curves of some cells, and their key. link.js says of which.

const Curves = (() => {
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const LEVELS = 64 * 64 - 2;
  const WIDTH = 400, HEIGHT = 350, LEFT = 52, RIGHT = 384, TOP = 16, BOTTOM = HEIGHT - 36;

  // The points [step, value] of one trial, as runner/report/curves.py packed them.
  function points(series, trial) {
    const coded = series.coded[trial], found = [];
    for (let i = 0; i < coded.length / 2; i++) {
      const level = LETTERS.indexOf(coded[2 * i]) * 64 + LETTERS.indexOf(coded[2 * i + 1]);
      if (level <= LEVELS) found.push([series.steps[i], 10 ** (series.low + (series.high - series.low) * level / LEVELS)]);
    }
    return found;
  }

  function ticks(low, high, log) {
    if (!log) {
      const step = 10 ** Math.floor(Math.log10(high - low));
      const size = [0.2, 0.5, 1, 2].map(m => m * step).find(s => (high - low) / s <= 6);
      return Array.from({length: Math.floor(high / size) + 1}, (_, k) => k * size).filter(v => v >= low);
    }
    const found = [];
    for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++)
      for (const m of high / low > 100 ? [1] : [1, 2, 5]) if (m * 10 ** k >= low && m * 10 ** k <= high) found.push(m * 10 ** k);
    return found;
  }

  // `shown`: [[cell, class], …]. Draws every series of every trial of each.
  function draw(plot, shown) {
    const lines = [];
    for (const [cell, style] of shown)
      for (const trial of DATA.cells[cell])
        DATA.curves.forEach((series, i) => {
          const found = points(series, trial);
          if (found.length) lines.push({found, style, thick: i > 0 || DATA.curves.length === 1});
        });
    const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "picture", role: "img", "aria-label": "Loss curves of the chosen cells"});
    plot.replaceChildren(svg);
    if (!lines.length) {
      svg.append(make("text", {x: WIDTH / 2, y: HEIGHT / 2, class: "tick mid"}, shown.length ? "these trials ended before their first measurement" : "no cell is chosen: point at one"));
      return;
    }
    const values = lines.flatMap(line => line.found.map(([, value]) => value));
    const low = Math.min(...values) / 1.05, high = Math.max(...values) * 1.05;
    const last = Math.max(1, ...lines.map(line => line.found[line.found.length - 1][0]));  // where the longest of these ends
    const x = step => LEFT + (RIGHT - LEFT) * step / last;
    const y = value => BOTTOM - (BOTTOM - TOP) * Math.log(value / low) / Math.log(high / low);
    const xs = ticks(0, last, false), ys = ticks(low, high, true);
    svg.append(make("path", {class: "grid", d: ys.map(v => `M${LEFT} ${y(v).toFixed(1)}H${RIGHT}`).join("") + xs.map(v => `M${x(v).toFixed(1)} ${TOP}V${BOTTOM}`).join("")}));
    for (const v of xs) svg.append(make("text", {x: x(v), y: BOTTOM + 14, class: "tick mid"}, v.toLocaleString("en")));
    for (const v of ys) svg.append(make("text", {x: LEFT - 5, y: y(v) + 3.5, class: "tick end"}, figure(v, 1)));
    svg.append(make("text", {x: (LEFT + RIGHT) / 2, y: BOTTOM + 29, class: "title mid"}, "training step"));
    svg.append(make("text", {transform: `translate(11 ${(TOP + BOTTOM) / 2})rotate(-90)`, class: "title mid"}, "loss"));
    for (const line of lines) {
      const d = "M" + line.found.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
      svg.append(make("path", {class: `trace ${line.thick ? "thick" : "thin"} ${line.style}`, d}));
    }
  }

  function caption(key, shown, names) {
    key.replaceChildren(...shown.map(([cell, style]) => {
      const item = make("li"), swatch = make("svg", {width: 26, height: 10, "aria-hidden": "true"});
      swatch.append(make("path", {class: `trace thick ${style}`, d: "M1 5H25"}));
      item.append(swatch, make("bdi", {}, names.get(cell)));
      return item;
    }));
    const what = DATA.curves.map((series, i) => {
      const line = DATA.curves.length === 1 ? "" : i ? "thick: " : "thin: ";
      return `${line}${series.title}${series.span > 1 ? ` (${series.peaks ? "highest" : "mean"} of ${series.span} steps)` : ""}`;
    });
    if (what.length) key.append(make("li", {class: "note"}, what.join("; ")));
  }

  return {draw, caption};
})();
