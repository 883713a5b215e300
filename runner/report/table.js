// The table of trials: sorted by a click on a heading, drawn a page at a time, filtered by conditions on numbers
// (val/loss<0.5, lr>=1/64) and words that all must hold.

{
  const PAGE = 100;
  const columns = DATA.table, count = columns[0].values.length;
  const table = document.getElementById("table"), more = document.getElementById("more");
  const search = document.getElementById("search"), said = document.getElementById("shown");
  const body = make("tbody");
  let sorted = {column: columns.findIndex(column => column.title === DATA.first.title), down: DATA.first.down}, limit = PAGE;  // best first

  function shown(column, row) {
    const value = column.values[row];
    if (value === null || value === undefined) return "";
    if (column.labels) return column.labels[value];
    return typeof value === "number" && !column.whole ? figure(value) : String(value);
  }

  const numeric = column => column.number || (!column.labels && !column.code);
  const texts = Array.from({length: count}, (_, row) => columns.map(column => shown(column, row)));
  const sought = texts.map(line => line.join("\n").toLowerCase());
  const outcome = columns.findIndex(column => column.title === "outcome");

  function compare(column, down) {
    const key = column.labels && !column.number ? row => column.labels[column.values[row]] : row => column.values[row];
    return (a, b) => {
      const x = key(a), y = key(b);
      if (x === null || y === null || x === undefined || y === undefined) return (x ?? null) === (y ?? null) ? a - b : (x ?? null) === null ? 1 : -1;
      return x === y ? a - b : (x < y ? -1 : 1) * (down ? -1 : 1);
    };
  }

  // A column is called by its title, by its key, or by the last part of that.
  const named = new Map();
  for (const column of columns.filter(each => each.numbers || (!each.labels && !each.code)))
    for (const name of [column.title, column.key, column.key?.split(".").pop()])
      if (name && !named.has(name.toLowerCase())) named.set(name.toLowerCase(), column);
  const names = [...named.keys()].sort((a, b) => b.length - a.length).map(name => name.replace(/[^\w\s]/g, "\\$&")).join("|");
  const CONDITION = new RegExp(`(?<![^\\s])(${names})\\s*(<=|>=|!=|==?|<|>)\\s*([-+]?[\\d.]+(?:e[-+]?\\d+)?)(?:/(\\d+))?(?!\\S)`, "g");
  const same = (a, b) => Math.abs(a - b) <= 2e-3 * Math.abs(b);  // 0.0316 is what is printed of 10^-1.5
  const HOLDS = {
    "<": (a, b) => a < b && !same(a, b), ">": (a, b) => a > b && !same(a, b),
    "<=": (a, b) => a < b || same(a, b), ">=": (a, b) => a > b || same(a, b),
    "=": same, "==": same, "!=": (a, b) => !same(a, b),
  };

  function asked() {
    const tests = [];
    const rest = search.value.toLowerCase().replace(CONDITION, (_, name, operator, above, below) => {
      const column = named.get(name), wanted = Number(above) / Number(below ?? 1);
      tests.push(row => {
        const value = column.values[row], number = value === null || value === undefined ? undefined : column.numbers ? column.numbers[value] : value;
        return number !== undefined && HOLDS[operator](number, wanted);
      });
      return " ";
    });
    for (const word of rest.split(/\s+/).filter(Boolean)) tests.push(row => sought[row].includes(word));
    return tests;
  }

  // Its id keeps the cell of a trial in view (link.js).
  function pin(id) {
    const button = make("button", {type: "button", "aria-pressed": "false", title: "keep its cell in view"});
    button.append(make("code", {}, id));
    return button;
  }

  function draw() {
    const tests = asked();
    const rows = [...Array(count).keys()].filter(row => tests.every(holds => holds(row)));
    if (sorted.column >= 0) rows.sort(compare(columns[sorted.column], sorted.down));
    body.replaceChildren(...rows.slice(0, limit).map(row => {
      const line = make("tr", {class: outcome >= 0 ? texts[row][outcome] : "", "data-t": row});
      columns.forEach((column, i) => {
        const cell = make("td", numeric(column) ? {class: "number"} : {});
        cell.append(column.code ? pin(texts[row][i]) : numeric(column) ? texts[row][i] : make("bdi", {}, texts[row][i]));
        line.append(cell);
      });
      return line;
    }));
    const here = Math.min(limit, rows.length);
    said.textContent = `${here.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown` + (tests.length ? `, ${count.toLocaleString("en")} in all` : "");
    more.hidden = rows.length <= limit;
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      head.setAttribute("aria-sort", i !== sorted.column ? "none" : sorted.down ? "descending" : "ascending");
      head.firstChild.lastChild.textContent = i !== sorted.column ? "" : sorted.down ? " ▼" : " ▲";
    });
    document.dispatchEvent(new Event("drawn"));
  }

  if (count) {
    const heads = make("tr");
    columns.forEach((column, i) => {
      const head = make("th", {scope: "col", ...(numeric(column) ? {class: "number"} : {})}), button = make("button", {type: "button"});
      button.append(make("span", {}, column.title), make("span", {"aria-hidden": "true"}));
      button.addEventListener("click", () => { sorted = {column: i, down: sorted.column === i && !sorted.down}; draw(); });
      head.append(button);
      heads.append(head);
    });
    const top = make("thead");
    top.append(heads);
    table.append(top, body);
    let waiting = 0;
    search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => { limit = PAGE; draw(); }, 120); });
    more.addEventListener("click", () => { limit = limit * 4; draw(); });
    draw();
  }
}
