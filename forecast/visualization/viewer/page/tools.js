// Pointer and keyboard.

import { changed, nameOf, removed, withoutLostPlans } from "./history.js";
import { isPerson, wrapped } from "./model.js";

const $ = (id) => document.getElementById(id);
const MOVES_PX = 4;
const PAN_PX = 60;
const PIECE_M = 2.5;  // what a key adds to a plan
const BEND_RAD = Math.PI / 12;
const TOOLS = { s: "select", g: "goal", a: "pedestrian", v: "vehicle", o: "obstacle", p: "plan" };
const round = (value, digits = 3) => Math.round(value * 10 ** digits) / 10 ** digits;
const point = (x, y) => [round(x), round(y)];

export function wireTools(app) {
  const canvas = $("plan");
  const pointers = new Map();
  let pinch = null;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  app.setTool = (tool) => {
    if (tool !== "select") {
      if (app.space) { app.toast("The tools are those of the plan view; press 3 to go there", true); return; }
      if (app.playing) app.play(app.playing);
      if (app.scene) app.setAhead(0);  // edits are made in the present
      canvas.focus();
    }
    app.tool = tool;
    app.drawn = null;
    for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    canvas.className = tool === "select" ? "" : "placing";
    app.hint();
    app.redraw();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 2) { begin = null; app.drag = null; pinch = spread(pointers); return; }
    start(event);
  });

  let begin = null;
  function start(event) {
    if (!app.scene || event.button > 1) return;
    const [px, py] = place(event);
    const agents = app.agents();
    begin = { px, py, x: app.view.x, y: app.view.y, moved: false, tool: event.button === 1 ? "pan" : app.tool };
    if (begin.tool === "plan") app.drawn = [];
    if (begin.tool !== "select") return;
    const own = agents.get(app.selected);
    const editable = app.catalog.editable && !app.playing && !app.ahead;
    if (own && editable && own.kind !== "static") {
      const [hx, hy] = app.view.toScreen(...app.handle(own));
      if (Math.hypot(hx - px, hy - py) < 11) { begin.turn = own; return; }
    }
    const hit = hitAgent(app, agents, px, py);
    if (!hit) return;
    app.select(hit.name);
    if (editable && hit.kind !== "static") begin.move = { ...hit };
  }

  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = place(event);
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, [px, py]);
    if (pinch && pointers.size === 2) {
      const next = spread(pointers);
      app.view.pan(next.x - pinch.x, next.y - pinch.y);
      app.view.zoom(next.far / pinch.far, next.x, next.y);
      pinch = next;
      app.redraw();
      return;
    }
    if (!begin) { hover(px, py); return; }
    begin.moved ||= Math.hypot(px - begin.px, py - begin.py) > MOVES_PX;
    if (begin.moved) drag(px, py);
  });

  function hover(px, py) {
    if (!app.scene) return;
    const hit = app.tool === "select" ? hitAgent(app, app.agents(), px, py) : null;
    canvas.classList.toggle("pointing", Boolean(hit));
    if ((hit?.name ?? null) !== app.hovered) { app.hovered = hit?.name ?? null; app.redraw(); }
  }

  function drag(px, py) {
    const [x, y] = app.view.toGround(px, py);
    const from = app.view.toGround(begin.px, begin.py);
    if (begin.turn) {
      const heading = Math.atan2(y - begin.turn.y, x - begin.turn.x);
      app.drag = { name: begin.turn.name, pose: { heading }, patch: { heading_rad: round(heading, 4) } };
      app.askFutures(withDrag(app));
    } else if (begin.move) {
      const [mx, my] = [begin.move.x + x - from[0], begin.move.y + y - from[1]];
      app.drag = { name: begin.move.name, pose: { x: mx, y: my }, patch: { position_m: point(mx, my) } };
      canvas.classList.add("moving");
      app.askFutures(withDrag(app));
    } else if (begin.tool === "plan") {
      app.drawn.push([x, y]);
    } else if (begin.tool === "pedestrian" || begin.tool === "vehicle") {
      app.placing = [...from, x, y];
    } else {
      app.view.pan(px - (begin.lastX ?? begin.px), py - (begin.lastY ?? begin.py));
      stopFollowing(app);
      [begin.lastX, begin.lastY] = [px, py];
    }
    app.redraw();
  }

  const end = (event) => {
    pointers.delete(event.pointerId);
    if (pinch) { if (!pointers.size) pinch = null; return; }
    const was = begin;
    begin = null;
    canvas.classList.remove("moving");
    if (!was) return;
    const [px, py] = place(event);
    if (app.drag) {
      app.released = { time: performance.now(), id: 0 };
      app.drag.settled = true;
      app.edit(dragged(app));
    } else finish(was, px, py);
    app.redraw();
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); pinch = begin = app.drag = app.drawn = app.placing = null; app.redraw(); });

  function finish(was, px, py) {
    const [x, y] = app.view.toGround(px, py);
    const start = app.view.toGround(was.px, was.py);
    if (was.tool === "select" && !was.moved && !was.move && !was.turn && !hitAgent(app, app.agents(), px, py)) app.select(null);
    if (was.tool === "goal") setGoal(app, [x, y]);
    if (was.tool === "pedestrian" || was.tool === "vehicle") {
      app.placing = null;
      addAgent(app, was.tool, start, was.moved ? Math.atan2(y - start[1], x - start[0]) : egoHeading(app));
    }
    if (was.tool === "obstacle") addObstacle(app, [x, y]);
    if (was.tool === "plan") drivePlan(app);
    if (was.tool !== "select" && was.tool !== "pan") app.setTool("select");
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    app.view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...place(event));
    app.redraw();
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => { app.view.zoom(1.6, ...place(event)); app.redraw(); });

  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => app.setTool(button.dataset.tool));
  const zoom = (factor) => () => { app.view.zoom(factor); app.redraw(); };
  $("in").addEventListener("click", zoom(1.4));
  $("out").addEventListener("click", zoom(1 / 1.4));
  $("fit").addEventListener("click", () => app.fit());
  $("follow").addEventListener("click", () => toggleFollow(app));
  $("help").addEventListener("click", () => showHelp(app));
  document.addEventListener("keydown", (event) => onKey(app, event));
}

function spread(pointers) {
  const [a, b] = [...pointers.values()];
  return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, far: Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1) };
}

// The edits with the drag that is under way.
function dragged(app) { return changed(app.history.state.edits, app.drag.name, app.drag.patch); }

// The state that the drag makes if it ends now.
function withDrag(app) {
  const { state } = app.history;
  return { ...state, edits: withoutLostPlans(state.edits, dragged(app), app.scene.ego) };
}

function hitAgent(app, agents, px, py) {
  let best = null;
  for (const agent of agents.values()) {
    const [ax, ay] = app.view.toScreen(agent.x, agent.y);
    const [dx, dy] = [px - ax, py - ay];
    const [cos, sin] = [Math.cos(agent.heading), -Math.sin(agent.heading)];
    const along = Math.abs(dx * cos + dy * sin) - (agent.length / 2) * app.view.scale;
    const aside = Math.abs(-dx * sin + dy * cos) - (agent.width / 2) * app.view.scale;
    const outside = Math.max(along, aside, 0);
    // People lie on top; scenery is chosen only if nothing else is there.
    const cost = outside + Math.hypot(dx, dy) * 0.02 + (isPerson(agent.kind) ? 0 : 3) + (agent.kind === "static" ? 6 : 0);
    if (outside < 9 && (!best || cost < best.cost)) best = { cost, agent };
  }
  return best?.agent ?? null;
}

function egoHeading(app) { return app.agents().get(app.scene.ego)?.heading ?? 0; }

export function setGoal(app, goal, speed = null) {
  if (!app.selected || !isPerson(app.kindOf(app.selected))) { app.toast("Select a person first: only people and cyclists have goals", true); return; }
  app.command({ do: "go_to", agent: app.selected, goal_m: point(...goal), ...(speed === null ? {} : { speed_mps: speed }) });
}

function addAgent(app, kind, [x, y], heading) {
  const name = freeName(app, { pedestrian: "person", vehicle: "car" }[kind]);
  const speed = { pedestrian: 1.3, vehicle: 6 }[kind];
  app.selected = name;
  app.edit([...app.history.state.edits, { do: "add", agent: name, kind, position_m: point(x, y), heading_rad: round(heading, 4), speed_mps: speed }]);
}

function addObstacle(app, [x, y]) {
  const name = freeName(app, "obstacle");
  app.selected = name;
  app.edit([...app.history.state.edits, { do: "put_obstacle", name, position_m: point(x, y), size_m: [2.5, 1.2, 1.1], heading_rad: round(egoHeading(app) + Math.PI / 2, 4) }]);
}

function freeName(app, word) {
  const taken = new Set([...app.scene.names, ...app.history.state.edits.map(nameOf)]);
  for (let number = 1; ; number++) if (!taken.has(`${word} ${number}`)) return `${word} ${number}`;
}

export function removeSelected(app) {
  const kind = app.kindOf(app.selected);
  if (!app.selected || kind === "static" || kind === undefined) { app.toast("Select an agent that can move first", true); return; }
  const name = app.selected;
  app.selected = null;
  app.edit(removed(app.history.state.edits, name));
}

function toggleFollow(app) {
  app.follow = !app.follow;
  $("follow").setAttribute("aria-pressed", String(app.follow));
  app.redraw();
}

// Asks for the poses along what was drawn.
function drivePlan(app) {
  const path = thinned(app.drawn).map(([a, b]) => point(a, b));
  app.drawn = null;
  if (path.length) app.askDrive(path, Number($("plan-speed")?.value ?? 8));
}

// Points at least half a metre apart, at most as many as a request may hold.
function thinned(points) {
  const kept = [];
  for (const each of points) if (!kept.length || Math.hypot(each[0] - kept.at(-1)[0], each[1] - kept.at(-1)[1]) >= 0.5) kept.push(each);
  const every = Math.ceil(kept.length / 300);
  return kept.filter((_, i) => i % every === 0);
}

function moveSelected(app, dx, dy, far) {
  const own = app.agents().get(app.selected);
  app.released = { time: performance.now(), id: 0 };
  app.edit(changed(app.history.state.edits, own.name, { position_m: point(own.x + far * dx, own.y + far * dy) }));
}

function turnSelected(app, by) {
  const own = app.agents().get(app.selected);
  if (own && own.kind !== "static") app.edit(changed(app.history.state.edits, own.name, { heading_rad: round(wrapped(own.heading + by), 4) }));
}

// Lets the camera of the plan view stop following the ego.
export function stopFollowing(app) {
  app.follow = false;
  $("follow").setAttribute("aria-pressed", "false");
}

export function nextAgent(app, by) {
  const names = [...app.agents().values()].filter((agent) => isPerson(agent.kind)).map((agent) => agent.name);
  if (!names.length) return;
  const at = names.indexOf(app.selected);
  app.select(names[(at + by + names.length + (at < 0 && by < 0 ? 1 : 0)) % names.length]);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function onKey(app, event) {
  if (!app.scene || $("dialog").open) return;
  const typing = event.target.closest("input[type=number], select");
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    const key = event.key.toLowerCase();
    if (typing) return;
    if (key === "z" && !event.shiftKey) app.history.undo();
    else if (key === "y" || (key === "z" && event.shiftKey)) app.history.redo();
    else return;
    event.preventDefault();
    return;
  }
  if (typing || event.altKey) return;
  if (event.key === " " && event.target.closest("button, summary, input")) return;
  if (app.tool === "plan" && document.activeElement === $("plan") && steer(app, event)) { event.preventDefault(); return; }
  if (event.key === "Enter") return;
  if (arrow(app, event) || act(app, event)) event.preventDefault();
}

// Draws the ego's plan with the keyboard: each piece goes straight on, or bends to a side.
function steer(app, { key, shiftKey }) {
  const ego = app.agents().get(app.scene.ego);
  if (!ego) return false;
  const drawn = app.drawn?.length ? app.drawn : [[ego.x, ego.y]];
  const bend = { ArrowUp: 0, ArrowLeft: 1, ArrowRight: -1 }[key];
  if (bend !== undefined) app.drawn = [...drawn, nextPoint(drawn, ego, bend * BEND_RAD * (shiftKey ? 1 / 3 : 1))];
  else if (key === "ArrowDown" || key === "Backspace") app.drawn = drawn.length > 1 ? drawn.slice(0, -1) : null;
  else if (key === "Enter" && drawn.length > 1) { drivePlan(app); app.setTool("select"); }
  else return false;
  app.hint();
  app.redraw();
  return true;
}

// The end of a piece that turns from the direction of the last one, at first from the ego's heading.
function nextPoint(drawn, ego, turn) {
  const [[fromX, fromY], [x, y]] = [drawn.at(-2) ?? [], drawn.at(-1)];
  const way = turn + (drawn.length > 1 ? Math.atan2(y - fromY, x - fromX) : ego.heading);
  return [x + PIECE_M * Math.cos(way), y + PIECE_M * Math.sin(way)];
}

function arrow(app, event) {
  const way = ARROWS[event.key];
  if (!way || document.activeElement !== $("plan")) return false;
  const own = app.agents().get(app.selected);
  if (own && own.kind !== "static" && app.catalog.editable && !app.playing && !app.ahead) moveSelected(app, ...way, event.shiftKey ? 0.1 : 0.5);
  else { app.view.pan(-way[0] * PAN_PX, way[1] * PAN_PX); app.redraw(); }
  return true;
}

function act(app, event) {
  const { key } = event;
  const middle = [app.view.x, app.view.y];
  const actions = {
    " ": () => app.play("time"),
    ".": () => app.play("ahead"),
    j: () => app.setTime(app.history.state.at - 1),
    l: () => app.setTime(app.history.state.at + 1),
    "[": () => nextAgent(app, -1),
    "]": () => nextAgent(app, 1),
    q: () => turnSelected(app, Math.PI / 12),
    e: () => turnSelected(app, -Math.PI / 12),
    "+": () => { app.view.zoom(1.4); app.redraw(); },
    "=": () => { app.view.zoom(1.4); app.redraw(); },
    "-": () => { app.view.zoom(1 / 1.4); app.redraw(); },
    0: () => app.fit(),
    3: () => app.toggleSpace(),
    f: () => toggleFollow(app),
    b: () => app.command({ do: "act", acceleration_mps2: -4 }),
    B: () => $("brake")?.focus(),
    r: () => app.askRanking(),
    n: () => app.history.commit({ seed: (app.history.state.seed + 1) % 2 ** 31 }),
    c: () => app.showCode(),
    "?": () => showHelp(app),
    A: () => addAgent(app, "pedestrian", middle, egoHeading(app) + Math.PI / 2),
    V: () => addAgent(app, "vehicle", middle, egoHeading(app)),
    O: () => addObstacle(app, middle),
    Delete: () => removeSelected(app),
    Backspace: () => removeSelected(app),
    Escape: () => { if (closeMenu()) return; if (app.tool === "select") app.select(null); else app.setTool("select"); },
  };
  const action = actions[key] ?? (TOOLS[key] && (() => app.setTool(TOOLS[key])));
  action?.();
  return Boolean(action);
}

// Closes the open menu, whose button gets the focus; false if none is open.
function closeMenu() {
  const menu = document.querySelector("details.menu[open]");
  if (!menu) return false;
  menu.open = false;
  menu.querySelector("summary").focus();
  return true;
}

function showHelp(app) {
  const rows = [
    ["click", "select an agent"], ["drag", "an agent: move it; its yellow handle: turn it; the ground: pan"], ["wheel", "zoom; on a touch screen two fingers"],
    ["space", "play the recording"], [".", "play the imagined future"], ["J  L", "a step back, a step on"],
    ["[  ]", "the person before, the next one"], ["arrows", "on the picture: move the selected agent 0.5 m (with shift 0.1 m); with none, pan"],
    ["Q  E", "turn the selected agent"], ["Delete", "remove the selected agent"], ["S G A V O P", "tools: select, goal, person, vehicle, obstacle, plan"],
    ["shift A V O", "add a person, vehicle or obstacle in the middle of the picture"], ["B", "the ego brakes; with shift: its acceleration, which arrows then change"],
    ["P  arrows  Enter", "draw the ego's plan: ↑ straight on, ← → to a side (with shift less), ↓ back; Enter drives it"], ["R", "rank plans"],
    ["N", "another seed"], ["Ctrl+Z  Ctrl+Shift+Z", "undo, redo"], ["+  −  0  F", "zoom, show everything, follow the ego"], ["3", "3-D view"], ["C", "copy as code"], ["Escape", "close the menu; leave the tool; select nothing"],
  ];
  const list = document.createElement("div");
  list.className = "keys";
  for (const [keys, text] of rows) {
    const [left, right] = [document.createElement("span"), document.createElement("span")];
    for (const key of keys.split(/\s+/)) {
      const mark = document.createElement("kbd");
      mark.textContent = key;
      left.append(mark, " ");
    }
    right.textContent = text;
    list.append(left, right);
  }
  app.dialog("Pointer and keys", list, "");
}
