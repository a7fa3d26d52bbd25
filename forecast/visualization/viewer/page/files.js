// Files that the page offers: the picture as PNG or SVG.

import { placedLabels, scaleBar } from "./canvas.js";

export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const number = (value) => String(Math.round(value * 100) / 100);
const escaped = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

export function svgOf(groups, labels, view, ground) {
  const parts = groups.flatMap((each) => (each.lines.length ? [element(each, view)] : []));
  const words = placedLabels(labels, view, (text) => 6.6 * text.length).map((label) => {
    const [fill, ink] = label.own ? ["#1b1f24", "#fff"] : label.edited ? ["#fdeadf", "#9c410a"] : ["#fff", "#39424d"];
    return `<rect x="${number(label.px - label.width / 2)}" y="${number(label.py - 8)}" width="${number(label.width)}" height="16" rx="4" fill="${fill}" fill-opacity=".9"/>`
      + `<text x="${number(label.px)}" y="${number(label.py + 4)}" text-anchor="middle" fill="${ink}" font-weight="600">${escaped(label.text)}</text>`;
  });
  const { metres, pixels, x, y } = scaleBar(view);
  const bar = `<path d="M${number(x - pixels)} ${y - 5}v5h${number(pixels)}v-5" fill="none" stroke="#39424d" stroke-width="1.6"/>`
    + `<text x="${number(x - pixels / 2)}" y="${y - 5}" text-anchor="middle" fill="#39424d">${metres} m</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${view.width}" height="${view.height}" viewBox="0 0 ${view.width} ${view.height}" font-family="system-ui, sans-serif" font-size="12">`
    + `<rect width="100%" height="100%" fill="${ground}"/><g stroke-linejoin="round" stroke-linecap="round">${parts.join("")}</g>${words.join("")}${bar}</svg>`;
}

function element(each, view) {
  const d = each.dots ? each.lines.map((line) => circle(line, each.dots, view)).join("") : each.lines.map((line) => points(line, each.closed, view)).join("");
  const stroke = each.stroke ? `stroke="${each.stroke}" stroke-width="${each.width}"${each.dash ? ` stroke-dasharray="${each.dash}"` : ""}` : "";
  return `<path d="${d}" fill="${each.fill ?? "none"}" ${stroke}${each.alpha ? ` opacity="${each.alpha}"` : ""}/>`;
}

function points(line, closed, view) {
  if (line.length < 4 || Number.isNaN(line[0])) return "";
  let d = "";
  for (let i = 0; i < line.length; i += 2) {
    const [x, y] = view.toScreen(line[i], line[i + 1]);
    d += `${i ? "L" : "M"}${number(x)} ${number(y)}`;
  }
  return closed ? `${d}Z` : d;
}

function circle([gx, gy], radius, view) {
  const [x, y] = view.toScreen(gx, gy);
  const r = number(radius);
  return `M${number(x - radius)} ${number(y)}a${r} ${r} 0 1 0 ${number(2 * radius)} 0a${r} ${r} 0 1 0 ${number(-2 * radius)} 0`;
}
