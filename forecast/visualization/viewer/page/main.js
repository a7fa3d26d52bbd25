// The page: its state, what it asks of the server, and what it draws.

import { Renderer, View } from "./canvas.js";
import { Connection, getFrame, getJson } from "./connection.js";
import { download, svgOf } from "./files.js";
import { commanded, fromAddress, History, nameOf, toAddress, withoutLostPlans } from "./history.js";
import { Futures, isPerson, Scene, shortName } from "./model.js";
import { NO_EGO, showPanel, wirePanel } from "./panel.js";
import { agentGroups, COLOURS, futureGroups, labels, mapGroups, planGroups } from "./picture.js";
import { stopFollowing, wireTools } from "./tools.js";

const $ = (id) => document.getElementById(id);
const PLAY_SPEED = 1;  // seconds of the scene in a second
const EGO_NEAR_M = 60;  // an ego farther from the people is not in the first picture

const app = {
  catalog: null, scene: null, futures: null, ranking: null, ranked: false,
  history: new History(() => stateChanged()),
  time: 0, ahead: 0, choice: 0, modes: 5, playing: null,
  selected: null, hovered: null, tool: "select", drag: null, drawn: null, follow: false,
  layers: { futures: true, vehicles: false, before: true, regions: true, modes: false, truth: true, labels: true, lane: true },
  view: new View(), space: null,
  released: null, latencies: [], asked: null, shownId: 0, wantedId: 0, commitId: 0, online: true, frames: 0,
};
window.viewer = app;  // for the console and for tests

const renderer = new Renderer($("plan"), app.view);
const connection = new Connection(onFrame, (online, why) => {
  if (online && !app.online) toast("Connected again");
  if (why) onRefusal({ answers: "futures", id: app.wantedId, error: why });
  else if (!online && app.online && app.catalog) sayWhy();
  app.online = online || Boolean(why);
});

app.connection = connection;

// Says why the socket is closed: a browser does not tell a page that the server refuses its socket.
async function sayWhy() {
  const response = await fetch("api/scenes").catch(() => null);
  const refusal = response && !response.ok ? (await response.json().catch(() => ({}))).error : null;
  toast(refusal ?? "The server does not answer; trying again", true);
}

// ---- what is asked of the server ------------------------------------------------------------

// What was asked last is not asked again: where a drag ends is often where its last move was.
app.askFutures = (state = app.history.state) => {
  const text = JSON.stringify(state);
  if (text !== app.asked) {
    app.asked = text;
    app.wantedId = connection.ask("futures", { state });
  }
  return app.wantedId;
};

// Whether the ego can drive a plan now. The lane ahead is given only for an ego of known speed.
app.hasEgo = () => Boolean(app.scene?.ego && (!app.futures || app.futures.arrays.lane.data.length));

app.askRanking = () => {
  if (app.catalog.editable && !app.hasEgo()) { toast(NO_EGO, true); return; }
  app.ranked = true;
  connection.ask("ranking", { state: app.history.state, plans: 1000 });
  showPanel(app);
};

app.askDrive = (path, speed) => {
  if (!app.hasEgo()) { toast(NO_EGO, true); return; }
  connection.ask("drive", { state: app.history.state, path_m: path, speed_mps: speed });
};

function onFrame(frame) {
  const { header, arrays } = frame;
  if (header.error) { onRefusal(header); return; }
  if (header.answers === "futures") showFutures(frame);
  if (header.answers === "ranking") {
    app.ranked = false;
    app.ranking = { header, arrays, from: egoNow() };
    redraw();
    showPanel(app);
    $("plans").scrollIntoView({ block: "nearest" });
  }
  if (header.answers === "drive") app.command(header.edit);
}

function onRefusal({ answers, id, error }) {
  toast(error, true);
  app.ranked = false;
  app.drag = app.asked = null;
  if (answers === "futures" && id === app.wantedId) takeBack();
  showPanel(app);
  redraw();
}

// Leaves a state that the server refuses: the last change, or what a link asked for.
function takeBack() {
  if (app.wantedId !== app.commitId) { app.askFutures(); return; }  // only a drag was refused
  if (app.history.drop()) return;
  const { scene } = app.history.state;
  if (app.restarted === scene) return;  // what every scene opens with is refused too
  app.restarted = scene;
  openScene(scene, { state: { seed: 0, samples: 20 } }).catch((failure) => toast(failure.message, true));
}

function showFutures(frame) {
  const { id, state } = frame.header;
  if (id < app.shownId || state.scene !== app.history.state.scene) return;
  app.shownId = id;
  app.futures = new Futures(frame);
  const counts = app.futures.mode_counts;
  if (counts.length && !counts.includes(app.modes)) [app.modes] = counts;
  app.futureGroups = null;
  $("code").hidden = !app.futures.code;
  fillChoices();
  showLegend();
  settle(id);
}

// After the futures of a request are there: ends the drag that asked for them.
function settle(id) {
  if (app.drag?.settled && id === app.wantedId) app.drag = null;
  if (!app.drag) showPanel(app);
  const released = app.released?.id === id ? app.released.time : null;
  redraw(() => {
    if (released === null) return;
    app.latencies.push(performance.now() - released);
    app.released = null;
  });
}

// ---- state ----------------------------------------------------------------------------------

async function stateChanged() {
  const { state } = app.history;
  app.ranking = null;
  app.ranked = false;
  if (app.scene?.id !== state.scene && !(await loadScene(state.scene))) return;
  if (app.playing !== "time") app.time = state.at;
  if (!app.playing && state.edits.length === 0) app.ahead = 0;
  app.commitId = app.askFutures();
  if (app.released) app.released.id = app.commitId;
  remember();
  showControls();
  if (app.shownId === app.commitId) settle(app.commitId);
  showPanel(app);
  redraw();
}

async function fetchScene(name) {
  if (app.fetched?.id !== name) app.fetched = new Scene(await getFrame(`api/scenes/${encodeURIComponent(name)}`));
  return app.fetched;
}

async function loadScene(name) {
  app.futures = app.futureGroups = app.asked = null;
  try {
    const scene = await fetchScene(name);
    if (app.history.state.scene !== name) return false;
    app.scene = scene;
  } catch (error) {
    toast(error.message, true);
    return false;
  }
  app.mapGroups = mapGroups(app.scene);
  $("scene").title = [app.scene.location, app.scene.description].filter(Boolean).join(": ");
  $("time").max = app.scene.steps - 1;
  $("ahead").max = app.catalog.horizon_s;
  const { edits } = app.history.state;
  if (!app.scene.row.has(app.selected) && !edits.some((edit) => nameOf(edit) === app.selected)) app.selected = null;
  return true;
}

// Shows a scene, if nothing else is asked from a moment at which a walking person is near the ego.
async function openScene(name, keep = {}) {
  pause();
  app.selected = keep.selected ?? null;
  const scene = await fetchScene(name);
  const [at, nearest] = interestingMoment(scene);
  app.selected ??= nearest;
  app.centred = false;
  app.history.commit({ scene: name, at, edits: [], ...keep.state }, Boolean(app.history.state.scene));
}

// The step and the person for whom what the ego does may matter most: walking, near, and ahead of it.
function interestingMoment(scene) {
  const ego = scene.row.get(scene.ego);
  const first = Math.min(4, scene.steps - 1);
  let best = [Infinity, first, null];
  for (let at = first; at < Math.max(scene.steps - 12, first + 1); at++) {
    const here = ego === undefined ? { x: 0, y: 0, heading: 0 } : scene.pose(ego, at);
    if (!here || scene.between.has(at)) continue;
    const stands = ego !== undefined && scene.speed(ego, at) < 1 ? 8 : 0;
    for (let row = 0; row < scene.names.length; row++) {
      const there = scene.kinds[row] === "pedestrian" && scene.pose(row, at);
      if (!there) continue;
      const [dx, dy] = [there.x - here.x, there.y - here.y];
      const [cos, sin] = [Math.cos(here.heading), Math.sin(here.heading)];
      const [along, aside] = [dx * cos + dy * sin, Math.abs(dy * cos - dx * sin)];
      const far = Math.abs(along - 12) * 0.6 + aside + stands + (scene.speed(row, at) < 0.4 ? 15 : 0);
      if (far < best[0]) best = [far, at, scene.names[row]];
    }
  }
  return best.slice(1);
}

app.setTime = (step) => {
  pause();
  let at = Math.min(Math.max(Math.round(step), 0), app.scene.steps - 1);
  while (at > 0 && app.scene.between.has(at)) at--;
  if (at === app.history.state.at) { app.time = at; redraw(); return; }
  if (app.history.state.edits.length) {
    toast("The edits belong to another moment and were put aside; undo brings them back");
    app.history.commit({ at, edits: [] });
  } else app.history.commit({ at }, false);
};

app.setAhead = (seconds) => {
  app.ahead = Math.min(Math.max(seconds, 0), app.catalog.horizon_s);
  showControls();
  redraw();
};

app.select = (name) => {
  app.selected = name;
  const own = app.agents().get(name);
  if (own && !app.view.shows(own.x, own.y)) {
    stopFollowing(app);
    Object.assign(app.view, { x: own.x, y: own.y });
  }
  app.futureGroups = null;
  remember();
  showPanel(app);
  redraw();
};

// Makes an edit: `edits` is the new list. A plan that no longer begins where its agent is, is dropped.
app.edit = (edits) => {
  if (!app.catalog.editable) { toast(`'${app.catalog.predictor}' cannot imagine edits; start the page with weights`, true); return; }
  pause();  // edits belong to one moment
  const kept = withoutLostPlans(app.history.state.edits, edits, app.scene.ego);
  if (kept.length < edits.length) toast("The plan began elsewhere and was dropped; draw or rank again");
  app.history.commit({ edits: kept });
};

app.command = (command) => app.edit(commanded(app.history.state.edits, command));

let remembering = 0;
function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, "", app.permalink()), 150);
}

app.permalink = () => {
  const { x, y, scale } = app.view;
  const round = (value) => Math.round(value * 100) / 100;
  return toAddress({ state: app.history.state, selected: app.selected, view: [round(x), round(y), round(scale)] });
};

// ---- agents as they are shown ---------------------------------------------------------------

// All agents at the shown time by name: recorded, edited or imagined.
app.agents = () => {
  const { scene, futures, history: { state }, time, ahead } = app;
  const found = new Map();
  if (!scene) return found;
  const edited = new Set(state.edits.map((edit) => nameOf(edit) ?? scene.ego));
  const fits = futures && futures.state.scene === state.scene && futures.state.at === state.at;
  const imagined = fits && (state.edits.length > 0 || futures.edited || ahead > 0 || app.drag);
  for (let row = 0; row < scene.names.length; row++) {
    const kind = scene.kinds[row];
    if (imagined && kind !== "static") continue;
    const pose = scene.pose(row, time);
    if (!pose) continue;
    const [length, width, height] = scene.size(row);
    found.set(scene.names[row], { name: scene.names[row], row, kind, length, width, height, ...pose, edited: false });
  }
  if (imagined) {
    const choice = futures.choices()[app.choice] ?? futures.choices()[0];
    futures.names.forEach((name, row) => {
      const [length, width, height] = futures.size(row);
      const pose = ahead > 0 ? futures.ahead(row, choice.path(row), ahead) : futures.now(row);
      found.set(name, {
        name, row: scene.row.get(name) ?? row, kind: futures.kinds[row], length, width, height, ...pose, edited: edited.has(name),
      });
    });
  }
  const { drag } = app;
  if (drag && found.has(drag.name)) Object.assign(found.get(drag.name), drag.pose);
  return found;
};

function egoNow() { return app.agents().get(app.scene.ego) ?? { x: 0, y: 0, heading: 0 }; }

// ---- drawing --------------------------------------------------------------------------------

let waiting = false;
let after = [];
let last = 0;
function redraw(then) {
  if (then) after.push(then);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(frame);
}
app.redraw = redraw;

function frame(now) {
  waiting = false;
  if (app.playing) advance(Math.min((now - last) / 1000, 0.1));
  last = now;
  draw();
  app.frames++;
  const done = after;
  after = [];
  done.forEach((each) => each());
  if (app.playing) redraw();
}

function advance(seconds) {
  if (app.playing === "time") {
    app.time += (seconds * PLAY_SPEED) / app.scene.dt;
    const step = Math.floor(app.time + 1e-9);
    if (app.time >= app.scene.steps - 1) { app.time = app.scene.steps - 1; pause(); }
    if (step !== app.history.state.at && !app.scene.between.has(step)) app.history.commit({ at: Math.min(step, app.scene.steps - 1) }, false);
  } else {
    app.ahead += seconds * PLAY_SPEED;
    if (app.ahead >= app.catalog.horizon_s) { app.ahead = app.catalog.horizon_s; pause(); }
  }
  showControls();
}

function content() {
  const agents = app.agents();
  app.futureGroups ??= futureGroups(app);
  const [plans, futures] = [planGroupsNow(), app.futureGroups];
  return { agents, plans, futures, names: labels(app, agents, app.view.scale) };
}

function everyGroup({ agents, plans, futures }) {
  return [...(app.mapGroups ?? []), ...plans, ...futures, ...agentGroups(app, agents, app.view.scale), ...overlays(agents)];
}

let fan = { ranking: null, groups: [] };
function planGroupsNow() {
  if (fan.ranking !== app.ranking) fan = { ranking: app.ranking, groups: planGroups(app.ranking) };
  return fan.groups;
}

function overlays(agents) {
  const groups = [];
  const own = agents.get(app.selected);
  if (own && app.tool === "select" && app.catalog?.editable && own.kind !== "static" && !app.ahead && !app.playing) {
    const [x, y] = app.handle(own);
    groups.push({ lines: [[own.x, own.y, x, y]], stroke: "#c98f00", width: 1.5 });
    groups.push({ lines: [[x, y]], dots: 5, fill: "#ffffff", stroke: "#c98f00", width: 2 });
  }
  if (app.drawn) groups.push({ lines: [app.drawn.flat()], stroke: COLOURS.ego, width: 3, alpha: 0.7 });
  if (app.placing) groups.push({ lines: [app.placing], stroke: COLOURS.after, width: 2.5 }, { lines: [app.placing.slice(0, 2)], dots: 6, fill: COLOURS.after });
  return groups;
}

// Where the handle is that turns an agent.
app.handle = (agent) => {
  const far = Math.max(agent.length / 2 + 1, 24 / app.view.scale);
  return [agent.x + far * Math.cos(agent.heading), agent.y + far * Math.sin(agent.heading)];
};

function draw() {
  if (!app.space) renderer.resize();  // a hidden canvas has no size
  if (!app.scene) return;
  if (!app.centred) centre();
  const shown = content();
  const ego = shown.agents.get(app.scene.ego);
  if (app.follow && ego) Object.assign(app.view, { x: ego.x, y: ego.y });
  if (app.space) app.space.show(app, shown);
  else renderer.draw(everyGroup(shown), shown.names, COLOURS.ground);
}

function centre() {
  app.centred = true;
  if (app.startView) {
    [app.view.x, app.view.y, app.view.scale] = app.startView;
    app.startView = null;
    return;
  }
  const around = inView(app.agents());
  if (!around.length) { app.fit(); return; }
  const reach = app.view.width < 600 ? 18 : 24;
  const [xs, ys] = [around.map((each) => each.x), around.map((each) => each.y)];
  app.view.fit([Math.min(...xs) - reach, Math.min(...ys) - reach], [Math.max(...xs) + reach, Math.max(...ys) + reach]);
}

// What the first picture shows: the selected agent, and the ego if it is near that or somebody. If
// there is neither, all people.
function inView(agents) {
  const [ego, own] = [agents.get(app.scene.ego), agents.get(app.selected)];
  const people = [...agents.values()].filter(({ kind }) => isPerson(kind));
  const others = own ? [own] : people;
  const near = ego && (!others.length || others.some(({ x, y }) => Math.hypot(x - ego.x, y - ego.y) < EGO_NEAR_M));
  const around = [near ? ego : null, own].filter(Boolean);
  return around.length ? around : people;
}

app.fit = () => {
  const every = [...app.agents().values()];
  if (!every.length) return;
  const [xs, ys] = [every.map((each) => each.x), every.map((each) => each.y)];
  app.view.fit([Math.min(...xs) - 8, Math.min(...ys) - 8], [Math.max(...xs) + 8, Math.max(...ys) + 8]);
  redraw();
};

// ---- controls -------------------------------------------------------------------------------

function pause() {
  app.playing = null;
  if (app.scene && app.time !== app.history.state.at) app.time = app.history.state.at;
}

app.play = (what) => {
  const stop = app.playing === what;
  pause();
  if (!stop) {
    if (what === "time") {
      if (app.history.state.edits.length) app.setTime(app.time + 1);
      app.ahead = 0;
      if (app.time >= app.scene.steps - 1) { app.history.commit({ at: 0 }, false); app.time = 0; }
    } else if (app.ahead >= app.catalog.horizon_s) app.ahead = 0;
    app.playing = what;
    last = performance.now();
  }
  showControls();
  showPanel(app);
  redraw();
};

function showControls() {
  const { state, past, future } = app.history;
  $("undo").disabled = !past.length;
  $("redo").disabled = !future.length;
  $("scene").value = state.scene;
  if (document.activeElement !== $("seed")) $("seed").value = state.seed;
  if (document.activeElement !== $("samples")) $("samples").value = state.samples;
  $("time").value = app.time;
  const dt = app.scene?.dt ?? 0;
  $("clock").value = `${(app.time * dt).toFixed(1)} of ${(((app.scene?.steps ?? 1) - 1) * dt).toFixed(1)} s`;
  $("ahead").value = app.ahead;
  $("ahead-clock").value = app.ahead > 0 ? `+${app.ahead.toFixed(1)} s` : "now";
  for (const [id, what] of [["play", "time"], ["dream", "ahead"]]) {
    $(id).querySelector("use").setAttribute("href", app.playing === what ? "#i-pause" : "#i-play");
  }
  $("save").disabled = !app.catalog?.editable;
  app.hint();
}
app.showControls = showControls;

function fillChoices() {
  const names = app.futures.choices().map(({ name, probability }) => (probability === null ? name : `${name} (${Math.round(100 * probability)} %)`));
  const select = $("future");
  if (select.options.length === names.length && select.options[1]?.text === names[1]) return;
  select.replaceChildren(...names.map((name, i) => new Option(name, i)));
  app.choice = Math.min(app.choice, names.length - 1);
  select.value = app.choice;
}

function showLegend() {
  const edited = app.futures?.edited;
  const rows = edited
    ? [["before the edits", COLOURS.before], ["after the edits", COLOURS.after], ["unchanged", COLOURS.unchanged]]
    : [["imagined futures", COLOURS.before], ["recorded future", COLOURS.truth, "dash"]];
  if (app.layers.regions && app.futures?.levels.length) {
    rows.push([`${app.futures.calibrated ? "tube" : "spread of the samples"}, 50 and 90 %`, edited ? "#f2c3a5" : "#a9c5e8", "dot"]);
  }
  if (app.layers.modes && app.futures?.mode_counts.length) rows.push(["modes, wider if more probable", COLOURS.mode]);
  if (app.futures?.fallbacks.size || app.futures?.flagged.size) rows.push(["outside the training range", COLOURS.warn]);
  $("legend").replaceChildren(...rows.map(([text, colour, kind]) => {
    const [row, mark] = [document.createElement("span"), document.createElement("i")];
    if (kind) mark.className = kind;
    if (kind === "dot") mark.style.background = colour;
    mark.style.borderColor = colour;
    row.append(mark, text);
    return row;
  }));
}

let toastTimer = 0;
function toast(text, bad = false) {
  const box = $("toast");
  box.textContent = text;
  box.className = `toast shown${bad ? " bad" : ""}`;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.className = "toast"; }, bad ? 7000 : 4000);
}
app.toast = toast;

app.dialog = (title, body, copy) => {
  $("dialog-title").textContent = title;
  $("dialog-body").replaceChildren(body);
  $("dialog-copy").hidden = !copy;
  $("dialog-copy").onclick = () => copyText(copy);
  $("dialog").showModal();
  $("dialog").scrollTop = 0;  // the focus is on the last button
};

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("The browser does not let the page copy; select the text and press Ctrl+C", true);
  }
}

app.showCode = () => {
  if (app.futures && !app.futures.code) { toast(`There is no code for '${app.catalog.predictor}'; start the page with weights`, true); return; }
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  pre.textContent = app.futures?.code ?? "";
  app.dialog("The same futures in Python", pre, app.futures?.code ?? "");
};

app.copyLink = () => {
  history.replaceState(null, "", app.permalink());
  const text = document.createElement("pre");
  text.textContent = location.href;
  app.dialog("Link to this scene with its edits", text, location.href);
};

app.savePng = () => {
  const from = app.space ? app.space.picture() : $("plan");
  from.toBlob((blob) => download(`${app.scene.id}.png`, blob), "image/png");
};

app.svg = () => {
  const shown = content();
  return svgOf(everyGroup(shown), shown.names, app.view, COLOURS.ground);
};

app.saveSvg = () => download(`${app.scene.id}.svg`, new Blob([app.svg()], { type: "image/svg+xml" }));

app.saveScene = async () => {
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(app.history.state) };
    const { path, left_out: leftOut } = await getJson("api/save", options);
    const text = document.createElement("pre");
    text.textContent = `forecast view --store ${path}`;
    const note = document.createElement("p");
    note.textContent = "The scene is a store of its own, up to the present, with histories that lead to the edited places. Every command reads it."
      + (leftOut.length ? ` A scene holds no commands, so these are left out: ${leftOut.join("; ")}` : "");
    const both = document.createElement("div");
    both.append(note, text);
    app.dialog("Saved", both, text.textContent);
  } catch (error) {
    toast(error.message, true);
  }
};

app.toggleSpace = async () => {
  if (app.space) {
    app.space.close();
    app.space = null;
  } else {
    try {
      const { Space } = await import("./space.js");
      app.space = new Space($("space"), app);
    } catch (error) {
      toast(`The 3-D view cannot be shown: ${error.message}`, true);
      return;
    }
  }
  const on = Boolean(app.space);
  if (on) app.setTool("select");
  $("space").hidden = !on;
  $("plan").hidden = on;
  document.querySelector(".camera").hidden = !on;
  document.querySelector(".tools").hidden = on;
  document.querySelector(".zoom").hidden = on;
  $("three").setAttribute("aria-pressed", String(on));
  redraw();
};

app.hint = () => {
  const words = {
    goal: app.selected && isPerson(kindOf(app.selected)) ? "Click where this person is to go" : "Select a person first, then click their goal",
    pedestrian: "Press where the person stands and drag where they walk",
    vehicle: "Press where the vehicle is and drag where it drives",
    obstacle: "Click where the obstacle stands",
    plan: app.drawn?.length > 1 ? `${lengthOf(app.drawn).toFixed(1)} m drawn; Enter drives along it` : "Draw the ego's way from the ego on, or steer with the arrow keys",
  };
  const text = words[app.tool] ?? "";
  $("hint").textContent = text;
  $("hint").hidden = !text || Boolean(app.space);
};

function lengthOf(points) {
  return points.slice(1).reduce((sum, [x, y], i) => sum + Math.hypot(x - points[i][0], y - points[i][1]), 0);
}

function kindOf(name) { return app.futures?.kinds[app.futures.row.get(name)] ?? app.scene?.kinds[app.scene.row.get(name)]; }
app.kindOf = kindOf;
app.shortName = (name) => shortName(name, kindOf(name), app.scene?.row.get(name) ?? app.futures?.row.get(name) ?? 0);

// ---- start ----------------------------------------------------------------------------------

function wireControls() {
  const on = (id, event, action) => $(id).addEventListener(event, action);
  on("scene", "change", () => openScene($("scene").value).catch((error) => toast(error.message, true)));
  on("undo", "click", () => app.history.undo());
  on("redo", "click", () => app.history.redo());
  const whole = (id, name, low, high) => on(id, "change", () => {
    const value = Math.round(Number($(id).value));
    if (Number.isFinite(value) && value >= low && value <= high) app.history.commit({ [name]: value });
    else { toast(`${name} is ${$(id).value || "empty"}; a whole number from ${low} to ${high} is needed`, true); $(id).value = app.history.state[name]; }
  });
  whole("seed", "seed", 0, 2 ** 31 - 1);
  whole("samples", "samples", 1, 200);
  on("reroll", "click", () => app.history.commit({ seed: (app.history.state.seed + 1) % 2 ** 31 }));
  on("three", "click", () => app.toggleSpace());
  on("play", "click", () => app.play("time"));
  on("dream", "click", () => app.play("ahead"));
  on("time", "input", () => { pause(); app.ahead = 0; app.setTime(Number($("time").value)); });
  on("ahead", "input", () => { pause(); app.setAhead(Number($("ahead").value)); });
  on("future", "change", () => { app.choice = Number($("future").value); redraw(); });
  on("link", "click", app.copyLink);
  on("code", "click", app.showCode);
  on("png", "click", app.savePng);
  on("svg", "click", app.saveSvg);
  on("save", "click", app.saveScene);
  for (const box of document.querySelectorAll("[data-layer]")) {
    box.addEventListener("change", () => { app.layers[box.dataset.layer] = box.checked; app.futureGroups = null; showPanel(app); showLegend(); redraw(); });
  }
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target) || (menu.id === "share" && event.target.closest("button"))) menu.open = false;
    }
  });
  new ResizeObserver(() => redraw()).observe($("stage"));
  window.addEventListener("hashchange", () => fromHash());
}

async function fromHash() {
  const page = fromAddress(location.hash);
  if (!page && location.hash.length > 1) toast("The link cannot be read; the first scene is shown", true);
  const name = page?.state.scene ?? app.catalog.scenes[0];
  if (!app.catalog.scenes.includes(name)) {
    toast(`There is no scene '${name}' in the store; the first one is shown`, true);
    return openScene(app.catalog.scenes[0]);
  }
  if (Array.isArray(page?.view) && page.view.every(Number.isFinite)) app.startView = page.view;
  return openScene(name, { selected: page?.selected, state: page?.state });
}

async function start() {
  wireControls();
  wireTools(app);
  wirePanel(app);
  app.catalog = await getJson("api/scenes");
  $("scene").replaceChildren(...app.catalog.scenes.map((name) => new Option(name, name)));
  $("predictor").textContent = `${app.catalog.predictor} on ${app.catalog.source}`;
  $("predictor").title = app.catalog.store;
  await fromHash();
}

start().catch((error) => toast(error.message, true));
