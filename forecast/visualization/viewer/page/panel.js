// The panel at the side: the selected agent, the effect of the edits, the ego's plans.

import { changed, nameOf } from "./history.js";
import { isPerson } from "./model.js";
import { riskColour, riskShare } from "./picture.js";
import { nextAgent, removeSelected, setGoal } from "./tools.js";

const $ = (id) => document.getElementById(id);
const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const percent = (share) => `${Math.round(100 * share)}\u202f%`;
const metres = (value, digits = 2) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} m`);
const degrees = (angle) => Math.round((angle * 1800) / Math.PI) / 10;
export const NO_EGO = "There is no ego to plan for at this moment: it is not here, or was not seen before.";
const rounded = (value, digits = 2) => Number(value.toFixed(digits));

export function showPanel(app) {
  if (!app.scene) return;
  setHtml($("person"), personCard(app));
  setHtml($("effect"), effectCard(app));
  setHtml($("plans"), plansCard(app));
  for (const chip of document.querySelectorAll("[data-risk]")) chip.style.background = riskColour(riskShare(Number(chip.dataset.risk)));
}

// Replaces the contents of a card. The element that has the focus keeps it; if it is gone, the card
// gets it, so that the next Tab goes on from there.
function setHtml(card, html) {
  if (card.dataset.html === html) return;
  const active = card.contains(document.activeElement) ? document.activeElement.id : null;
  card.tabIndex = -1;
  card.dataset.html = html;
  card.innerHTML = html;
  if (active !== null) (document.getElementById(active) ?? card).focus({ preventScroll: true });
}

function personCard(app) {
  const agents = app.agents();
  const own = agents.get(app.selected);
  const names = [...agents.values()].filter((agent) => agent.kind !== "static");
  const options = names.map((agent) => `<option value="${escaped(agent.name)}"${agent.name === app.selected ? " selected" : ""}>${escaped(app.shortName(agent.name))} · ${agent.kind}</option>`);
  const chooser = `<div class="row"><button id="previous" class="icon" aria-label="Previous person" title="Previous person ([)">‹</button>
    <select id="agent" aria-label="Agent"><option value="">None selected</option>${options.join("")}</select>
    <button id="next" class="icon" aria-label="Next person" title="Next person (])">›</button></div>`;
  if (!own) return `<h2>Agent</h2>${chooser}<p class="muted">Click an agent to see its futures. Drag it to move it.</p>`;
  const row = app.futures?.row.get(own.name);
  const parts = [`<h2 title="${escaped(own.name)}">${escaped(app.shortName(own.name))} ${badges(app, own)}</h2>`, chooser];
  if (row !== undefined) parts.push(oodNotice(app, own), entryPart(app, own), regionPart(app), modesPart(app, own, row), editPart(app, own, row), errorPart(app, own));
  else if (own.kind !== "static") parts.push('<p class="muted">No futures at this moment.</p>');
  return parts.join("");
}

function badges(app, own) {
  const category = app.scene.categories[app.scene.row.get(own.name)] ?? "added here";
  const found = [`<span class="badge" title="${escaped(category)}">${escaped(own.kind)}</span>`];
  if (own.edited) found.push('<span class="badge edit">edited</span>');
  if (app.futures?.flagged.has(own.name)) found.push('<span class="badge warn">outside the training range</span>');
  return found.join(" ");
}

function oodNotice(app, own) {
  const ood = app.futures.ood[own.name];
  if (!ood || ood.score <= ood.most) return "";
  const what = app.futures.edited
    ? "An edited scene shows the network's own futures all the same; do not trust them."
    : "Its futures are constant velocity (fallback), not the network's.";
  return `<p class="notice">OOD score ${ood.score.toFixed(1)}, above ${ood.most.toFixed(1)}: the history is unlike those of the calibration. ${what}</p>`;
}

function entryPart(app, own) {
  const entry = app.futures.entry[own.name];
  const effect = app.futures.effects?.[own.name];
  const facts = [];
  if (entry) {
    const before = app.futures.entry_before?.[own.name];
    const shown = before ? `<span class="before">${percent(before.probability)}</span> → <span class="after">${percent(entry.probability)}</span>` : percent(entry.probability);
    const when = entry.median_s === null ? `in none of ${app.futures.samples} futures` : `median after ${entry.median_s.toFixed(1)} s`;
    facts.push(`<div><small>enters the ego's lane within ${(app.futures.steps * app.futures.dt_s).toFixed(0)} s</small><span class="big">${shown}</span><small>${percent(entry.low)} to ${percent(entry.high)}, ${when}</small></div>`);
  }
  if (effect) facts.push(`<div><small>moved by the edits, at the end</small><span class="big after">${metres(effect.mean_m)}</span><small>at most ${metres(effect.largest_m)}; ${percent(effect.share)} of the futures by more than 0.5 m</small></div>`);
  if (!facts.length) return "";
  return `<div class="facts">${facts.join("")}</div>${entry ? chart(app, entry, app.futures.entry_before?.[own.name]) : ""}`;
}

// The probability to have entered the lane, by time.
function chart(app, entry, before) {
  const [width, height, left, bottom] = [340, 96, 34, 18];
  const horizon = app.futures.steps * app.futures.dt_s;
  const x = (seconds) => left + (seconds / horizon) * (width - left - 6);
  const y = (share) => 6 + (1 - share) * (height - bottom - 6);
  const line = ({ now, by_step: steps }, colour, dash) => {
    const points = [...(now === null ? [] : [[0, now]]), ...steps.map((share, i) => [(i + 1) * app.futures.dt_s, share])];
    return `<polyline fill="none" stroke="${colour}" stroke-width="2.2"${dash} points="${points.map(([s, p]) => `${x(s).toFixed(1)},${y(p).toFixed(1)}`).join(" ")}"/>`;
  };
  const grid = [0, 0.5, 1].map((share) => `<line x1="${left}" x2="${width - 6}" y1="${y(share)}" y2="${y(share)}" stroke="#e4e8ec"/><text x="${left - 6}" y="${y(share) + 4}" text-anchor="end">${100 * share} %</text>`);
  const ticks = [];
  for (let second = 0; second <= horizon + 1e-6; second += 2) ticks.push(`<text x="${x(second)}" y="${height - 2}" text-anchor="middle">${second} s</text>`);
  const after = before ? "#d9611a" : "#2f6fc1";
  return `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="Probability to have entered the ego's lane, by time">${grid.join("")}${ticks.join("")}${before ? line(before, "#2f6fc1", ' stroke-dasharray="5 4"') : ""}${line(entry, after, "")}</svg>`;
}

function regionPart(app) {
  if (!app.layers.regions || !app.futures.levels.length || app.futures.calibrated) return "";
  const why = app.futures.edited ? "Only recorded scenes have calibrated tubes." : "These futures are not calibrated.";
  return `<p class="muted">The regions are ellipses of the ${app.futures.samples} samples. ${why}</p>`;
}

function modesPart(app, own, row) {
  if (!app.layers.modes) return "";
  const counts = app.futures.mode_counts;
  if (!counts.length) return '<p class="muted">No modes: they are predicted without edits only, and by the network only.</p>';
  const modes = app.futures.modes(row, app.modes);
  const shares = modes.map(({ probability }) => percent(probability)).slice(0, 5).join(", ");
  const options = counts.map((count) => `<option${count === app.modes ? " selected" : ""}>${count}</option>`);
  return `<div class="row"><label class="field">Modes <select id="mode-count" title="Number of modes">${options.join("")}</select></label>
    <span class="muted" title="from the most to the least probable">${shares}${modes.length > 5 ? ", …" : ""}</span></div>`;
}

function editPart(app, own, row) {
  if (!app.catalog.editable || app.playing || app.ahead) return "";
  const now = app.futures.now(row);
  const field = (id, text, value, step) => `<label>${text}<input id="${id}" type="number" step="${step}" value="${value}"></label>`;
  const fields = `<div class="fields">${field("edit-x", "x, m", rounded(now.x), 0.5)}${field("edit-y", "y, m", rounded(now.y), 0.5)}${field("edit-heading", "heading, °", degrees(now.heading), 5)}${own.kind === "obstacle" ? "" : field("edit-speed", "speed, m/s", rounded(now.speed), 0.1)}</div>`;
  const goal = app.history.state.edits.find((edit) => edit.do === "go_to" && edit.agent === own.name);
  const goals = isPerson(own.kind)
    ? `<div class="fields">${field("goal-x", "goal x, m", goal ? goal.goal_m[0] : "", 0.5)}${field("goal-y", "goal y, m", goal ? goal.goal_m[1] : "", 0.5)}${field("goal-speed", "pace, m/s", goal?.speed_mps ?? "", 0.1)}<label>&nbsp;<button id="set-goal">${goal ? "Change" : "Set goal"}</button></label></div>`
    : "";
  return `<h3>Edit</h3>${fields}${goals}<div class="row"><button id="remove">Remove ${escaped(app.shortName(own.name))}</button></div>`;
}

function errorPart(app, own) {
  const errors = app.futures.errors?.[own.name];
  if (app.futures.edited) return own.edited ? "" : '<p class="muted">What was recorded is no truth for an edited scene, so no errors are shown.</p>';
  if (!errors?.length) return '<p class="muted">It was not recorded long enough for errors.</p>';
  const row = (text, key, sub) => `<tr><td>${text}</td>${errors.map((each) => `<td>${metres(sub ? each.baselines[key] : each[key])}</td>`).join("")}</tr>`;
  const baselines = Object.keys(errors[0].baselines).map((name) => row(name.replaceAll("_", " "), name, true));
  return `<h3>Error against what was recorded</h3><table><thead><tr><th></th>${errors.map((each) => `<th>${each.horizon_s} s</th>`).join("")}</tr></thead><tbody>
    ${row("most probable, at the end", "fde_m")}${row("… on average", "ade_m")}${row(`best of ${app.futures.samples}, at the end`, "min_fde_m")}${baselines.join("")}</tbody></table>`;
}

function effectCard(app) {
  const { edits } = app.history.state;
  if (!app.catalog.editable) return '<h2>Edits</h2><p class="muted">This predictor cannot imagine edits. Start the page with weights, such as <code>--predictor town</code>.</p>';
  if (!edits.length) return '<h2>Edits</h2><p class="muted">None yet. Drag an agent, turn it by its handle, add one with the tools, or brake the ego. The futures before and after then share their random numbers, so what differs is the effect of the edits.</p>';
  const rows = edits.map((edit, i) => `<li><span title="${escaped(JSON.stringify(edit))}">${escaped(inWords(app, edit))}</span><button id="drop-${i}" data-drop="${i}" aria-label="Take this edit back: ${escaped(inWords(app, edit))}">✕</button></li>`);
  return `<h2>Edits <span class="badge edit">${edits.length}</span></h2><ul class="edits">${rows.join("")}</ul>${range(app)}${affected(app)}
    <div class="row"><button id="clear">Remove all edits</button>${app.futures?.code ? '<button id="show-code">Copy as code…</button>' : ""}</div>`;
}

function inWords(app, edit) {
  const who = nameOf(edit) === null ? "Ego" : app.shortName(nameOf(edit));
  if (edit.do === "change") {
    const parts = [];
    if (edit.position_m) parts.push(`moved to ${edit.position_m.map((v) => v.toFixed(1)).join(", ")}`);
    if (edit.heading_rad !== undefined) parts.push(`turned to ${degrees(edit.heading_rad)}°`);
    if (edit.speed_mps !== undefined) parts.push(`${edit.speed_mps} m/s`);
    return `${who}: ${parts.join(", ")}`;
  }
  const words = {
    go_to: () => `${who} goes to ${edit.goal_m.map((v) => v.toFixed(1)).join(", ")}`,
    add: () => `${who} added, ${edit.speed_mps} m/s`,
    put_obstacle: () => `${who} put there`,
    remove: () => `${who} removed`,
    follow: () => `${who} follows a plan of ${edit.poses.length} poses`,
    act: () => edit.acceleration_mps2 === 0 ? `${who} keeps its speed` : `${who} ${edit.acceleration_mps2 < 0 ? "brakes" : "accelerates"} with ${Math.abs(edit.acceleration_mps2)} m/s²`,
  };
  return words[edit.do]?.() ?? edit.do;
}

function range(app) {
  if (!app.futures?.edited || !app.futures.flagged.size) return "";
  const names = [...app.futures.flagged].map((name) => escaped(app.shortName(name)));
  return `<p class="notice">Outside the training range: ${names.slice(0, 6).join(", ")}${names.length > 6 ? ", …" : ""}. Their histories are unlike those of the calibration.</p>`;
}

function affected(app) {
  const { futures } = app;
  if (!futures?.edited) return "";
  const rows = Object.entries(futures.effects)
    .filter(([name]) => isPerson(futures.kinds[futures.row.get(name)]))
    .sort((a, b) => b[1].mean_m - a[1].mean_m)
    .filter(([, effect]) => effect.mean_m > 0.02)
    .slice(0, 7)
    .map(([name, effect]) => {
      const [was, is] = [futures.entry_before?.[name], futures.entry[name]];
      const both = was && is ? `<td><span class="before">${percent(was.probability)}</span> → <span class="after">${percent(is.probability)}</span></td>` : "<td>–</td>";
      return `<tr${name === app.selected ? ' class="here"' : ""}><td><button class="link" data-agent="${escaped(name)}">${escaped(app.shortName(name))}</button></td><td>${metres(effect.mean_m)}</td>${both}</tr>`;
    });
  if (!rows.length) return '<p class="muted">The edits change nobody\'s futures by more than 2 cm.</p>';
  return `<table><thead><tr><th>Most affected people</th><th>moved by</th><th>enters lane</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function plansCard(app) {
  const nothing = (why) => `<h2>The ego's plan</h2><p class="muted">${why}</p>`;
  if (!app.catalog.editable) return nothing("This predictor cannot imagine plans.");
  if (!app.hasEgo()) return nothing(NO_EGO);
  const act = app.history.state.edits.find((edit) => edit.do === "act" && nameOf(edit) === null);
  const value = act ? act.acceleration_mps2 : 0;
  const speed = Math.max(Math.round(app.scene.speed(app.scene.row.get(app.scene.ego), app.history.state.at)), 5);
  const own = app.history.state.edits.some((edit) => ["act", "follow"].includes(edit.do) && nameOf(edit) === null);
  return `<h2>The ego's plan</h2>
    <div class="slider"><label for="brake">Acceleration</label><input id="brake" type="range" min="-8" max="3" step="0.5" value="${value}"><output>${act ? `${value.toFixed(1)} m/s²` : "as imagined"}</output></div>
    <div class="row"><label class="field">Drawn plan's speed <input id="plan-speed" type="number" min="0" max="40" step="1" value="${speed}"> m/s</label>${own ? '<button id="free">Drive as imagined</button>' : ""}</div>
    <div class="row"><button id="rank" class="primary"${app.ranked ? " disabled" : ""}>${app.ranked ? "Ranking…" : "Rank 1,000 plans"}</button>${app.ranking ? '<button id="drive-best">Drive best</button><button id="close-ranking">Hide</button>' : ""}</div>
    ${app.ranking ? ranking(app, app.ranking.header) : ""}`;
}

function ranking(app, header) {
  const row = (each, text) => `<tr><td><span class="badge" data-risk="${each.risk}">&nbsp;</span> ${text}</td><td>${each.cost.toFixed(2)}</td><td>${percent(each.collision_probability)}</td><td>${percent(each.collision_high)}</td><td>${each.progress_m.toFixed(0)} m</td></tr>`;
  const table = header.table.slice(0, 5).map((each, i) => row(each, i ? `plan ${each.plan}` : `<b>plan ${each.plan}</b>`));
  const left = header.left_out.length ? `<p class="notice">The ranking starts from the edited scene without its commands: ${escaped(header.left_out.length)} left out.</p>` : "";
  return `<div><div class="ramp"></div><div class="row muted"><span>no risk</span><span class="grow"></span><span>contact likely</span></div></div>
    <p class="muted">${header.plans_compared.toLocaleString("en")} plans were ranked. ${escaped(header.why)}${escaped(conflict(app, header))}</p>${left}
    <table><thead><tr><th>Plan</th><th>cost</th><th>contact</th><th>at most</th><th>drives</th></tr></thead><tbody>${table.join("")}${row(header.keep, "keep the speed")}${row(header.brake, "brake fully")}</tbody></table>`;
}

// Whom the best plan touches or comes closest to, by the name that the picture shows.
function conflict(app, { best, conflict: found }) {
  if (!found) return "";
  return ` Plan ${best} ${found.touches ? "touches" : "comes closest to"} ${app.shortName(found.agent)} in ${percent(found.share)} of the samples.`;
}

export function wirePanel(app) {
  const panel = $("panel");
  const clicks = {
    previous: () => nextAgent(app, -1),
    next: () => nextAgent(app, 1),
    remove: () => removeSelected(app),
    clear: () => app.edit([]),
    "show-code": () => app.showCode(),
    rank: () => app.askRanking(),
    "drive-best": () => driveBest(app),
    "close-ranking": () => { app.ranking = null; showPanel(app); app.redraw(); },
    free: () => app.edit(app.history.state.edits.filter((edit) => !(["act", "follow"].includes(edit.do) && nameOf(edit) === null))),
    "set-goal": () => goalFromFields(app),
  };
  panel.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.agent !== undefined) app.select(button.dataset.agent);
    else if (button.dataset.drop !== undefined) app.edit(app.history.state.edits.filter((_, i) => i !== Number(button.dataset.drop)));
    else clicks[button.id]?.();
  });
  const patches = {
    "edit-x": (value, now) => ({ position_m: [value, rounded(now.y, 3)] }),
    "edit-y": (value, now) => ({ position_m: [rounded(now.x, 3), value] }),
    "edit-heading": (value) => ({ heading_rad: rounded((value * Math.PI) / 180, 4) }),
    "edit-speed": (value) => ({ speed_mps: value }),
  };
  panel.addEventListener("change", (event) => {
    const { id, value } = event.target;
    if (id === "agent") { app.select(value || null); return; }
    if (id === "mode-count") { app.modes = Number(value); app.futureGroups = null; showPanel(app); app.redraw(); return; }
    if (id === "brake") { app.command({ do: "act", acceleration_mps2: Number(value) }); return; }
    const patch = patches[id];
    if (!patch) return;
    if (value === "" || !Number.isFinite(Number(value))) { $("person").dataset.html = ""; showPanel(app); return; }
    const now = app.futures.now(app.futures.row.get(app.selected));
    app.edit(changed(app.history.state.edits, app.selected, patch(Number(value), now)));
  });
  panel.addEventListener("input", (event) => {
    if (event.target.id === "brake") event.target.nextElementSibling.value = `${Number(event.target.value).toFixed(1)} m/s²`;
  });
}

function goalFromFields(app) {
  const [x, y, speed] = ["goal-x", "goal-y", "goal-speed"].map((id) => $(id).value);
  if (x === "" || y === "") { app.setTool("goal"); return; }
  setGoal(app, [Number(x), Number(y)], speed === "" ? null : Number(speed));
}

function driveBest(app) {
  const { header, arrays } = app.ranking;
  const [, steps] = arrays.plans.shape;
  const start = header.best * steps * 3;
  const poses = Array.from({ length: steps }, (_, i) => [...arrays.plans.data.subarray(start + 3 * i, start + 3 * i + 3)].map((value) => rounded(value, 4)));
  app.command({ do: "follow", poses });
}
