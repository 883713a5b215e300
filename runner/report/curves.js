// Curves of some cells, and their key: the losses, or one series that was told beside them. link.js says of which cells.

const Curves = (() => {
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const LEVELS = 64 * 64 - 2;
  const WIDTH = 400, HEIGHT = 350, LEFT = 52, RIGHT = 384, TOP = 16, BOTTOM = HEIGHT - 36;

  let which = -1;  // which of DATA.told; the losses at first
  const series = () => which < 0 ? DATA.curves : [DATA.told[which]];

  // The points [step, value] of one trial, as runner/report/curves.py packed them.
  function points(series, trial) {
    const coded = series.coded[trial], [low, high] = series.ends[trial] ?? series.ends[0], found = [];
    for (let i = 0; i < coded.length / 2; i++) {
      const level = LETTERS.indexOf(coded[2 * i]) * 64 + LETTERS.indexOf(coded[2 * i + 1]);
      const share = level / LEVELS, value = low * (1 - share) + high * share;
      if (level <= LEVELS) found.push([series.steps[i], series.log ? 10 ** value : value]);
    }
    return found;
  }

  function ticks(low, high, log) {
    if (!log) {
      const step = 10 ** Math.floor(Math.log10(high - low));
      const size = [0.2, 0.5, 1, 2].map(m => m * step).find(s => (high - low) / s <= 6);
      const first = Math.ceil(low / size);
      return Array.from({length: Math.max(0, Math.floor(high / size) - first + 1)}, (_, k) => (first + k) * size);
    }
    const found = [];
    for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++)
      for (const m of high / low > 100 ? [1] : [1, 2, 5]) if (m * 10 ** k >= low && m * 10 ** k <= high) found.push(m * 10 ** k);
    return found.length > 1 ? found : ticks(low, high, false);
  }

  const title = () => which >= 0 ? DATA.told[which].title : DATA.curves.every(each => each.name.endsWith("loss")) ? "loss" : DATA.curves.map(each => each.title).join(", ");
  const plain = value => String(Number(value.toPrecision(3)));

  // The ends of an axis that holds these values.
  function around(low, high, log) {
    const room = (high - low) * 0.04 || Math.abs(high) * 0.1 || 1;
    return log ? [low / 1.05, high * 1.05] : [low - room, high + room];
  }

  // `shown`: [[cell, class], …]. Draws every series of every trial of each.
  function draw(plot, shown) {
    const lines = [], all = series(), log = all.every(each => each.log);
    for (const [cell, style] of shown)
      for (const trial of DATA.cells[cell])
        all.forEach((each, i) => {
          const found = points(each, trial);
          if (found.length) lines.push({found, style, thick: i > 0 || all.length === 1});
        });
    const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "picture", role: "img", "aria-label": `${title()} of the chosen cells`});
    plot.replaceChildren(svg);
    if (!lines.length) {
      svg.append(make("text", {x: WIDTH / 2, y: HEIGHT / 2, class: "tick mid"}, !shown.length ? "no cell is chosen: point at one" : which < 0 ? "these trials ended before their first measurement" : "these trials were not asked for this"));
      return;
    }
    const values = lines.flatMap(line => line.found.map(([, value]) => value));
    const [low, high] = around(Math.min(...values), Math.max(...values), log);
    const last = Math.max(1, ...lines.map(line => line.found[line.found.length - 1][0]));  // where the longest of these ends
    const x = step => LEFT + (RIGHT - LEFT) * step / last;
    const y = value => BOTTOM - (BOTTOM - TOP) * (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const xs = ticks(0, last, false).filter(Number.isInteger), ys = ticks(low, high, log);
    svg.append(make("path", {class: "grid", d: ys.map(v => `M${LEFT} ${y(v).toFixed(1)}H${RIGHT}`).join("") + xs.map(v => `M${x(v).toFixed(1)} ${TOP}V${BOTTOM}`).join("")}));
    for (const v of xs) svg.append(make("text", {x: x(v), y: BOTTOM + 14, class: "tick mid"}, v.toLocaleString("en")));
    for (const v of ys) svg.append(make("text", {x: LEFT - 5, y: y(v) + 3.5, class: "tick end"}, log && high / low > 5 ? figure(v, 1) : plain(v)));
    svg.append(make("text", {x: (LEFT + RIGHT) / 2, y: BOTTOM + 29, class: "title mid"}, "training step"));
    svg.append(make("text", {transform: `translate(11 ${(TOP + BOTTOM) / 2})rotate(-90)`, class: "title mid"}, title()));
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
    const all = series(), what = all.map((each, i) => {
      const line = all.length === 1 ? "" : i ? "thick: " : "thin: ";
      return `${line}${each.title}${each.span > 1 ? ` (${each.peaks ? "highest" : "mean"} of ${each.span} steps)` : ""}`;
    });
    if (what.length) key.append(make("li", {class: "note"}, what.join("; ")));
  }

  // In place of the word "Loss curves", a choice of what is drawn, where something was told beside the losses.
  // `changed` is called once it is.
  function choice(figure, changed) {
    if (!DATA.told.length) return;
    const select = make("select", {class: "which", "aria-label": "what the curves show"});
    select.append(...["losses", ...DATA.told.map(each => each.title)].map((name, i) => make("option", {value: i - 1}, name)));
    select.addEventListener("change", () => { which = +select.value; changed(); for (const each of document.querySelectorAll("select.which")) each.value = which; });
    figure.querySelector(".what").replaceChildren("Curves of ", select, ". ");
  }

  return {draw, caption, choice};
})();
