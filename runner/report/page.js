"use strict";
// The page's script in four parts: this one reads the data and keeps the switches; curves.js draws the loss curves of
// cells; table.js fills the table of trials; link.js ties all pictures and the table together. Nothing is fetched; text
// of users is only ever set as text.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes = {}, text = "") {
  const drawn = ["svg", "g", "path", "text", "line"].includes(name);
  const element = drawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// As runner/show/numbers.py writes numbers: few digits.
function figure(value, digits = 4) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e4) return value.toExponential(digits - 1).replace("e+", "e");
  return size >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits);
}

{
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const seeds = document.getElementById("seeds");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  seeds.addEventListener("change", () => root.classList.toggle("show-seeds", seeds.checked));
  name();
  document.querySelector(".switches").hidden = false;
  if (matchMedia("(max-width: 760px)").matches)
    for (const each of document.querySelectorAll(".collapse")) each.open = false;
  // On paper everything that is folded is open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of folded) each.open = false; });
}
