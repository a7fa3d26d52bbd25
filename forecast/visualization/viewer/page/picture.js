// What is drawn, as groups of lines in metres with styles in pixels. The canvas, the SVG file and the
// 3-D view draw the same groups. The 3-D view also needs the time of a group: `stepS` are the seconds
// from one point of a line to the next, `seconds` is how far ahead all of it is.

import { isPerson, shortName } from "./model.js";

export const COLOURS = {
  ground: "#f4f5f3", road: "#e3e7ec", walkway: "#e9ece2", walkwayEdge: "#d8dccd", crosswalk: "#d9d3ea",
  lane: "#bcc4ce", divider: "#d9cfa9", body: "#9aa5b3", bodyEdge: "#6f7b8a", ego: "#26323f",
  mode: "#7b3fa0", static: "#c6c2b8", person: "#2f4258", obstacle: "#b3563b",
  before: "#2f6fc1", after: "#d9611a", truth: "#1a8f5a", warn: "#9a5b00", history: "#5b6470", unchanged: "#7e8ea3", ink: "#1b1f24",
};
const REGION_LEVELS = [0.5, 0.9];
const LABELLED_MODES = 5;
const CHANGED_M = 0.1;  // mean over the samples at the end; less is not drawn as a change

function group(lines, style) { return { lines, ...style }; }

export function mapGroups(scene) {
  const { map } = scene;
  const area = (part, fill, stroke, width = 1) => group(map[part].flat(), { fill, stroke, width, closed: true });
  return [
    area("drivable_area", COLOURS.road),
    area("walkways", COLOURS.walkway, COLOURS.walkwayEdge),
    area("crosswalks", COLOURS.crosswalk),
    group(map.dividers, { stroke: COLOURS.divider, width: 1.2 }),
    group(map.centerlines, { stroke: COLOURS.lane, width: 1, dash: [5, 6] }),
  ];
}

// Whether edits change an agent's futures enough to draw those before and after in two colours. Where
// they hardly differ, the two would look like one muddy colour.
export function isChanged(futures, row) {
  return futures.edited && (futures.effects[futures.names[row]]?.mean_m ?? Infinity) > CHANGED_M;
}

// A line through where an agent is now and the points of a path.
function fromNow(now, path) {
  const line = new Float32Array(path.length + 2);
  line[0] = now.x;
  line[1] = now.y;
  line.set(path, 2);
  return line;
}

// The groups of futures; made anew only when the futures, the selection or the layers change.
export function futureGroups(app) {
  const { futures, scene, layers, selected } = app;
  if (!futures || !scene) return [];
  const groups = [];
  const colour = futures.edited ? COLOURS.after : COLOURS.before;
  if (layers.lane && futures.arrays.lane.data.length) {
    groups.push(group([futures.arrays.lane.data], { fill: "#2f6fc1", alpha: 0.07, closed: true }));
  }
  const shown = futures.names.map((name, row) => row).filter((row) => {
    const kind = futures.kinds[row];
    return futures.valid[row] && (isPerson(kind) || layers.vehicles || futures.names[row] === selected);
  });
  const others = shown.filter((row) => futures.names[row] !== selected);
  const differ = others.filter((row) => isChanged(futures, row));
  const same = others.filter((row) => !isChanged(futures, row));
  const every = (rows, before) => rows.flatMap((row) => {
    const there = before ? futures.beforeRow.get(futures.names[row]) : row;
    if (there === undefined) return [];
    const now = before ? nowBefore(app, futures.names[row]) : futures.now(row);
    return Array.from({ length: futures.samples }, (_, k) => fromNow(now, futures.sample(k, there, before)));
  });
  const modes = (rows, before) => rows.flatMap((row) => {
    const there = before ? futures.beforeRow.get(futures.names[row]) : row;
    const now = before ? nowBefore(app, futures.names[row]) : futures.now(row);
    return there === undefined ? [] : [fromNow(now, futures.mode(there, before))];
  });
  const showBefore = futures.edited && layers.before;
  const unchanged = futures.edited ? COLOURS.unchanged : COLOURS.before;
  const stepS = futures.dt_s;
  if (layers.futures) groups.push(group(every(same, false), { stroke: unchanged, width: 1, alpha: 0.2, stepS }));
  groups.push(group(modes(same, false), { stroke: unchanged, width: 1.8, alpha: 0.7, stepS }));
  if (layers.futures) {
    if (showBefore) groups.push(group(every(differ, true), { stroke: COLOURS.before, width: 1, alpha: 0.2, stepS }));
    groups.push(group(every(differ, false), { stroke: colour, width: 1, alpha: 0.3, stepS }));
  }
  if (showBefore) groups.push(group(modes(differ, true), { stroke: COLOURS.before, width: 2, alpha: 0.8, stepS }));
  groups.push(group(modes(differ, false), { stroke: colour, width: 2, alpha: 0.9, stepS }));
  const row = futures.row.get(selected);
  if (row !== undefined) {
    groups.push(...truthGroups(app));
    if (layers.regions) groups.push(...regionGroups(futures, row));
    if (showBefore && futures.beforeRow.has(selected)) {
      groups.push(...ownGroups(every([row], true), modes([row], true), COLOURS.before, layers, futures));
    }
    if (futures.valid[row]) {
      const warned = futures.fallbacks.has(selected);
      groups.push(...ownGroups(every([row], false), modes([row], false), warned ? COLOURS.warn : colour, layers, futures));
    }
    if (layers.modes) groups.push(...modeGroups(app, row));
  }
  const plan = futures.state.edits.find((edit) => edit.do === "follow");
  if (plan) groups.push(group([plan.poses.flatMap(([x, y]) => [x, y])], { stroke: COLOURS.ego, width: 3, alpha: 0.75, dash: [8, 5] }));
  for (const edit of futures.state.edits) if (edit.do === "go_to") groups.push(...goalGroups(app, edit));
  return groups;
}

// The futures of one agent: samples, their ends, the most probable one with a dot each second.
function ownGroups(samples, modes, stroke, layers, futures) {
  const groups = [];
  const stepS = futures.dt_s;
  if (layers.futures) {
    for (const line of samples) groups.push(group([line], { stroke, width: 1.3, alpha: 0.42, stepS }));
    const ends = samples.map((line) => [line.at(-2), line.at(-1)]);
    groups.push(group(ends, { dots: 2.2, fill: stroke, alpha: 0.7, seconds: futures.steps * stepS }));
  }
  groups.push(group(modes, { stroke: "#ffffff", width: 5, alpha: 0.85, stepS }));
  groups.push(group(modes, { stroke, width: 3, stepS }));
  for (const step of secondsOf(futures)) {
    const dots = modes.map((line) => [line[2 * step], line[2 * step + 1]]);
    groups.push(group(dots, { dots: 3, fill: "#ffffff", stroke, width: 1.6, seconds: step * stepS }));
  }
  return groups;
}

// The steps that are whole seconds ahead; the present is step 0.
function secondsOf(futures) {
  const every = Math.max(1, Math.round(1 / futures.dt_s));
  return Array.from({ length: Math.floor(futures.steps / every) }, (_, second) => (second + 1) * every);
}

function regionGroups(futures, row) {
  const fill = futures.edited ? COLOURS.after : COLOURS.before;
  return REGION_LEVELS.flatMap((level) => secondsOf(futures).flatMap((step) => {
    const ring = futures.region(level, row, step - 1);
    return ring ? [group([ring], { fill, alpha: level > 0.8 ? 0.07 : 0.1, closed: true, seconds: step * futures.dt_s })] : [];
  }));
}

// The modes of an agent; a wider line is more probable.
function modeGroups({ futures, modes }, row) {
  const now = futures.now(row);
  return futures.modes(row, modes).reverse().flatMap(({ probability, path }) => {
    const style = { alpha: 0.35 + 0.6 * Math.sqrt(probability) };
    const line = group([fromNow(now, path)], { ...style, stroke: COLOURS.mode, width: 1 + 9 * probability, stepS: futures.dt_s });
    const end = group([[path.at(-2), path.at(-1)]], { ...style, dots: 2 + 6 * Math.sqrt(probability), fill: COLOURS.mode, seconds: futures.steps * futures.dt_s });
    return [line, end];
  });
}

function modeLabels(app) {
  const { futures, layers, selected, scene } = app;
  const row = futures?.row.get(selected);
  if (!scene || !layers.modes || row === undefined) return [];
  return futures.modes(row, app.modes).slice(0, LABELLED_MODES).map(({ probability, path }) => ({
    x: path.at(-2), y: path.at(-1), seconds: futures.steps * futures.dt_s, lift: 0, text: `${Math.round(100 * probability)} %`, own: false, edited: false, weight: 1,
  }));
}

function truthGroups(app) {
  const { scene, futures, selected, layers } = app;
  const row = scene.row.get(selected);
  if (!layers.truth || row === undefined || futures.edited) return [];
  const steps = Math.round((futures.steps * futures.dt_s) / scene.dt);
  const line = scene.path(row, futures.state.at, futures.state.at + steps);
  return line.length > 2 ? [group([line], { stroke: COLOURS.truth, width: 2.4, dash: [6, 4], stepS: scene.dt })] : [];
}

function goalGroups(app, edit) {
  const row = app.futures.row.get(edit.agent);
  if (row === undefined) return [];
  const now = app.futures.now(row);
  return [
    group([[now.x, now.y, ...edit.goal_m]], { stroke: COLOURS.after, width: 1.4, dash: [3, 4], alpha: 0.8 }),
    group([edit.goal_m], { dots: 6, stroke: COLOURS.after, width: 2.4 }),
    group([edit.goal_m], { dots: 1.6, fill: COLOURS.after }),
  ];
}

function nowBefore(app, name) {
  const row = app.scene.row.get(name);
  return app.scene.pose(row, app.futures.state.at) ?? { x: NaN, y: NaN };
}

// The fan of ranked plans by risk, the best one on top.
export function planGroups(ranking) {
  if (!ranking) return [];
  const { data, shape } = ranking.arrays.plans;
  const risk = ranking.arrays.risk.data;
  const bins = Array.from({ length: 9 }, () => []);
  const line = (plan) => {
    const found = [ranking.from.x, ranking.from.y];
    for (let step = 0; step < shape[1]; step++) {
      const i = 3 * (plan * shape[1] + step);
      found.push(data[i], data[i + 1]);
    }
    return found;
  };
  for (let plan = 0; plan < shape[0]; plan++) bins[Math.round(8 * riskShare(risk[plan]))].push(line(plan));
  const fan = bins.map((lines, bin) => group(lines, { stroke: riskColour(bin / 8), width: 1, alpha: 0.4 })).reverse();
  const best = line(ranking.header.best);
  return [
    ...fan,
    group([best], { stroke: "#ffffff", width: 6.5 }),
    group([best], { stroke: "#0f6d63", width: 3.6 }),
  ];
}

// 0 for no risk, 1 for a contact in half of the futures (risk 50) or more; the root shows small ones.
export function riskShare(risk) { return Math.sqrt(Math.min(Math.max(risk, 0) / 50, 1)); }

export function riskColour(share) {
  const stops = [[31, 157, 143], [233, 192, 74], [210, 67, 47]];
  const at = 2 * share;
  const [a, b] = at < 1 ? [stops[0], stops[1]] : [stops[1], stops[2]];
  const part = at < 1 ? at : at - 1;
  return `rgb(${a.map((value, i) => Math.round(value + part * (b[i] - value))).join(", ")})`;
}

// Bodies of agents, histories, marks and names.
export function agentGroups(app, agents, scale) {
  const bodies = {};
  const add = (key, style, line) => { (bodies[key] ??= group([], style)).lines.push(line); };
  const least = 4.2 / scale;
  const groups = [historyGroup(app)];
  const focus = agents.get(app.selected);
  if (focus) groups.push(group([[focus.x, focus.y]], { dots: Math.max(0.9 * scale * Math.max(focus.length, 1) * 0.62, 13), fill: "#ffd54a", alpha: 0.45, stroke: "#c98f00", width: 1.5 }));
  for (const agent of agents.values()) {
    const { kind } = agent;
    const flagged = app.futures?.flagged.has(agent.name) || app.futures?.fallbacks.has(agent.name);
    if (kind === "pedestrian") {
      const radius = Math.max(0.36, least);
      const edge = flagged ? COLOURS.warn : agent.edited ? COLOURS.after : "#ffffff";
      add(`p${edge}`, { fill: COLOURS.person, stroke: edge, width: edge === "#ffffff" ? 1.2 : 2.6, closed: true }, disc(agent, radius));
      add("nose", { stroke: "#ffffff", width: 1.6 }, nose(agent, radius));
      continue;
    }
    const fill = { ego: COLOURS.ego, static: COLOURS.static, obstacle: COLOURS.obstacle, cyclist: COLOURS.person }[kind] ?? COLOURS.body;
    const edge = agent.edited ? COLOURS.after : kind === "static" ? "#aaa698" : kind === "vehicle" ? COLOURS.bodyEdge : "#ffffff";
    add(`b${kind}${edge}`, { fill, stroke: edge, width: agent.edited ? 2.4 : 1, closed: true }, box(agent, least));
    if (kind === "vehicle" || kind === "ego") add(`w${kind}`, { stroke: kind === "ego" ? "#ffffff" : "#4d5865", width: 1.5 }, wedge(agent));
  }
  const order = (key) => (key.startsWith("bstatic") ? 0 : key.startsWith("b") ? 1 : key.startsWith("w") ? 2 : 3);
  groups.push(...Object.entries(bodies).sort((a, b) => order(a[0]) - order(b[0])).map(([, each]) => each));
  return groups;
}

function historyGroup(app) {
  const { scene, history } = app;
  const step = Math.round(app.time);
  const lines = [];
  if (scene && !history.state.edits.length && !app.ahead) {
    for (let row = 0; row < scene.names.length; row++) {
      if (!isPerson(scene.kinds[row])) continue;
      const line = scene.path(row, step - Math.round(2 / scene.dt), step);
      if (line.length > 2 && scene.pose(row, step)) lines.push(line);
    }
  }
  return group(lines, { stroke: COLOURS.history, width: 1.4, alpha: 0.5 });
}

function disc({ x, y }, radius) {
  const ring = [];
  for (let i = 0; i < 16; i++) ring.push(x + radius * Math.cos((i * Math.PI) / 8), y + radius * Math.sin((i * Math.PI) / 8));
  return ring;
}

function nose({ x, y, heading }, radius) {
  return [x, y, x + radius * Math.cos(heading), y + radius * Math.sin(heading)];
}

function local({ x, y, heading }, points) {
  const [cos, sin] = [Math.cos(heading), Math.sin(heading)];
  return points.flatMap(([a, b]) => [x + a * cos - b * sin, y + a * sin + b * cos]);
}

function box(agent, least) {
  const [a, b] = [Math.max(agent.length / 2, least * 0.6), Math.max(agent.width / 2, least * 0.45)];
  const cut = agent.kind === "static" || agent.kind === "obstacle" ? 0 : Math.min(0.22 * b, 0.3);
  if (!cut) return local(agent, [[a, b], [-a, b], [-a, -b], [a, -b]]);
  return local(agent, [[a - cut, b], [cut - a, b], [-a, b - cut], [-a, cut - b], [cut - a, -b], [a - cut, -b], [a, cut - b], [a, b - cut]]);
}

function wedge(agent) {
  const [a, b] = [agent.length / 2, agent.width / 2];
  return local(agent, [[a * 0.35, b * 0.7], [a * 0.75, 0], [a * 0.35, -b * 0.7]]);
}

// Names to draw, in the order of their importance; the renderer leaves out those that overlap.
export function labels(app, agents, scale) {
  const found = modeLabels(app);
  if (!app.layers.labels) return found;
  for (const agent of agents.values()) {
    const own = agent.name === app.selected || agent.name === app.hovered;
    const moving = isPerson(agent.kind) ? scale > 7 : agent.kind === "ego" || (agent.kind === "vehicle" && scale > 18);
    if (!own && !agent.edited && !moving) continue;
    const text = shortName(agent.name, agent.kind, agent.row);
    const weight = own ? 0 : agent.edited ? 1 : agent.kind === "ego" ? 2 : isPerson(agent.kind) ? 3 : 4;
    const [cos, sin] = [Math.abs(Math.cos(agent.heading)), Math.abs(Math.sin(agent.heading))];
    const lift = agent.kind === "pedestrian" ? 0.5 : (sin * agent.length + cos * agent.width) / 2;
    found.push({ x: agent.x, y: agent.y, lift, text, own, edited: agent.edited, weight });
  }
  return found.sort((a, b) => a.weight - b.weight);
}
