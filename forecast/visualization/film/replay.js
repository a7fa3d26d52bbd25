// Plays a film from the numbers in the page: no request is made.
"use strict";

const film = JSON.parse(document.getElementById("film").textContent);
const { palette } = film;
const PEDESTRIAN = 0, EGO = 3, STATIC = 4;
const byId = (id) => document.getElementById(id);

const floats = (text) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
};

// Numbers that were packed as text, once.
for (const tracks of [film.truth, ...film.panels.map((panel) => panel.tracks)]) {
  for (const name of ["x", "y", "heading"]) tracks[name] = floats(tracks[name]);
}
for (const panel of film.panels) {
  for (const made of panel.predictions) {
    for (const name of ["samples", "shares", "mode", "rings"]) made[name] = floats(made[name]);
    const count = made.agents.length;
    made.largest = made.agents.map((_, agent) => Math.max(...made.shares.filter((_, i) => i % count === agent)));
  }
}

const state = {
  time: film.start, isPlaying: false, follows: true, hidden: new Set(),
  x: 0, y: 0, scale: 10, // the middle of every panel in metres, and pixels in a metre
};

// --- positions

// The step at or before a time and the share of the way to the next one.
function place(times, time) {
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= time + 1e-6) low = middle; else high = middle - 1;
  }
  const next = Math.min(low + 1, times.length - 1);
  const span = times[next] - times[low];
  const share = span > 0 ? Math.min(Math.max((time - times[low]) / span, 0), 1) : 0;
  return [low, next, share];
}

// An agent at a time; null where it was not observed. A missing position is NaN.
function agentAt(tracks, row, time) {
  const count = tracks.times.length;
  if (time < tracks.times[0] - 1e-6 || time > tracks.times[count - 1] + 1e-6) return null;
  const [low, next, share] = place(tracks.times, time);
  const a = row * count + low, b = row * count + (share > 1e-6 ? next : low);
  const x = tracks.x[a] + share * (tracks.x[b] - tracks.x[a]);
  const y = tracks.y[a] + share * (tracks.y[b] - tracks.y[a]);
  if (!Number.isFinite(x + y)) return null;
  let turn = tracks.heading[b] - tracks.heading[a];
  turn -= 2 * Math.PI * Math.round(turn / (2 * Math.PI));
  return { x, y, heading: tracks.heading[a] + share * turn };
}

// The positions of an agent at the steps from one time to another, as [x, y, x, y, …].
function stepsBetween(tracks, row, from, to) {
  const found = [], count = tracks.times.length;
  for (let step = 0; step < count; step++) {
    const time = tracks.times[step];
    const x = tracks.x[row * count + step], y = tracks.y[row * count + step];
    if (time > from - 1e-6 && time < to + 1e-6 && Number.isFinite(x)) found.push(x, y);
  }
  return found;
}

function currentPrediction(panel, time) {
  const late = panel.predictions.filter((made) => made.at <= time + 1e-6);
  return late.length ? late[late.length - 1] : panel.predictions[0];
}

// --- drawing

class Picture {
  constructor(panel) {
    this.panel = panel;
    const box = document.createElement("div");
    box.className = "panel";
    this.canvas = box.appendChild(document.createElement("canvas"));
    if (panel.title) box.appendChild(document.createElement("h2")).textContent = panel.title;
    byId("panels").append(box);
    this.context = this.canvas.getContext("2d");
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    const dense = window.devicePixelRatio || 1;
    this.width = clientWidth; this.height = clientHeight; this.dense = dense;
    this.canvas.width = Math.max(Math.round(clientWidth * dense), 1);
    this.canvas.height = Math.max(Math.round(clientHeight * dense), 1);
  }

  draw(time) {
    const draw = this.context, s = state.scale;
    draw.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    draw.clearRect(0, 0, this.width, this.height);
    this.toX = (x) => this.width / 2 + (x - state.x) * s;
    this.toY = (y) => this.height / 2 - (y - state.y) * s;
    this.ground();
    const made = currentPrediction(this.panel, time);
    if (film.isImagined) this.imagined(made, time); else this.ahead(made, time);
    if (this.panel.plan && shows("plan")) {
      this.lines([this.panel.plan], palette.plan, 2.5);
      this.dots(this.panel.plan, palette.plan, 2.2);
    }
    this.agents(time);
    this.shares(made);
    this.bar();
  }

  path(points, close) {
    const draw = this.context;
    for (let i = 0; i < points.length; i += 2) {
      const x = this.toX(points[i]), y = this.toY(points[i + 1]);
      if (i) draw.lineTo(x, y); else draw.moveTo(x, y);
    }
    if (close) draw.closePath();
  }

  areas(polygons, colour, alpha = 1) {
    const draw = this.context;
    draw.globalAlpha = alpha;
    draw.fillStyle = colour;
    for (const rings of polygons) {
      draw.beginPath();
      for (const ring of rings) this.path(ring, true);
      draw.fill("evenodd");
    }
    draw.globalAlpha = 1;
  }

  lines(lines, colour, width, alpha = 1, dash = []) {
    const draw = this.context;
    draw.globalAlpha = alpha;
    draw.strokeStyle = colour;
    draw.lineWidth = width;
    draw.lineJoin = "round";
    draw.setLineDash(dash);
    for (const line of lines) {
      draw.beginPath();
      this.path(line, false);
      draw.stroke();
    }
    draw.setLineDash([]);
    draw.globalAlpha = 1;
  }

  dots(points, colour, radius) {
    const draw = this.context;
    draw.fillStyle = colour;
    draw.beginPath();
    for (let i = 0; i < points.length; i += 2) {
      const x = this.toX(points[i]), y = this.toY(points[i + 1]);
      draw.moveTo(x + radius, y);
      draw.arc(x, y, radius, 0, 2 * Math.PI);
    }
    draw.fill();
  }

  ground() {
    const { map } = film;
    if (!map) return;
    for (const name of ["road", "walkway", "crosswalk"]) {
      if (shows(name)) this.areas(map[name], palette[name]);
    }
    this.lines(map.dividers, palette.divider, 1);
    this.lines(map.lanes, palette.lane, 1, 1, [5, 4]);
  }

  agents(time) {
    const { tracks } = this.panel, draw = this.context;
    const walks = film.isImagined && time > film.start + 1e-6 ? "mode" : "history";
    film.agents.forEach((agent, row) => {
      const now = agentAt(tracks, row, time);
      if (!now) return;
      const ahead = [Math.cos(now.heading), Math.sin(now.heading)];
      if (agent.kind === PEDESTRIAN) {
        if (!shows(walks)) return;
        const radius = Math.max(0.35 * state.scale, 2.5);
        this.dots([now.x, now.y], palette[walks], radius);
        if (agent.faces) {
          const far = 2.2 * radius / state.scale;
          this.lines([[now.x, now.y, now.x + far * ahead[0], now.y + far * ahead[1]]], palette[walks], 2);
        }
        return;
      }
      const name = agent.kind === EGO ? "ego" : agent.kind === STATIC ? "static" : "body";
      if (!shows(name)) return;
      const [length, width] = agent.size.map((edge) => edge / 2);
      const corners = [];
      for (const [u, v] of [[1, 1], [-1, 1], [-1, -1], [1, -1]]) {
        corners.push(now.x + u * length * ahead[0] - v * width * ahead[1]);
        corners.push(now.y + u * length * ahead[1] + v * width * ahead[0]);
      }
      this.areas([[corners]], name === "static" ? palette.lane : palette[name]);
      if (name === "static") return;
      const half = [now.x + length * ahead[0] / 2, now.y + length * ahead[1] / 2];
      this.lines([[...half, now.x + length * ahead[0], now.y + length * ahead[1]]], "#fff", 2);
    });
    draw.globalAlpha = 1;
  }

  // One future of one agent from the time of the prediction on, up to a step.
  future(made, values, first, agent, steps) {
    const line = [made.now[2 * agent], made.now[2 * agent + 1]];
    const whole = Math.min(Math.floor(steps + 1e-6), made.steps);
    for (let step = 0; step < whole; step++) {
      line.push(values[first + 2 * step], values[first + 2 * step + 1]);
    }
    const rest = steps - whole;
    if (rest > 1e-6 && whole < made.steps) {
      const x = values[first + 2 * whole], y = values[first + 2 * whole + 1];
      const [fromX, fromY] = line.slice(-2);
      line.push(fromX + rest * (x - fromX), fromY + rest * (y - fromY));
    }
    return line;
  }

  // Draws samples or modes up to a step, the more probable wider, and returns their ends.
  samples(made, steps, alpha, width) {
    const count = made.agents.length, size = 2 * made.steps, ends = [];
    const groups = new Map(); // lines of the same look
    for (let k = 0; k < made.count; k++) {
      for (let agent = 0; agent < count; agent++) {
        const isFallback = Boolean(made.fallback[agent]);
        if (!shows(isFallback ? "fallback" : "sample")) continue;
        const line = this.future(made, made.samples, (k * count + agent) * size, agent, steps);
        if (!isFallback) ends.push(...line.slice(-2));
        const share = made.shares[k * count + agent] / made.largest[agent];
        const key = `${isFallback} ${share.toFixed(1)}`;
        if (!groups.has(key)) groups.set(key, { isFallback, share, lines: [] });
        groups.get(key).lines.push(line);
      }
    }
    for (const { isFallback, share, lines } of groups.values()) {
      const colour = isFallback ? palette.fallback : palette.sample;
      this.lines(lines, colour, width * (0.4 + 1.2 * share), alpha, isFallback ? [4, 3] : []);
    }
    return ends;
  }

  // Writes the probabilities of modes at their ends, the largest first, where there is room.
  shares(made) {
    if (!film.hasModes || !shows("sample")) return;
    const count = made.agents.length, draw = this.context, taken = [];
    const end = (i) => [made.samples[2 * made.steps * (i + 1) - 2], made.samples[2 * made.steps * (i + 1) - 1]];
    const order = Array.from(made.shares.keys()).sort((a, b) => made.shares[b] - made.shares[a]);
    draw.font = "11px system-ui, sans-serif";
    draw.textAlign = "center";
    draw.lineWidth = 3;
    draw.strokeStyle = "#ffffffcc";
    draw.fillStyle = palette.ink;
    for (const i of order) {
      const [x, y] = [this.toX(end(i)[0]), this.toY(end(i)[1]) - 5];
      if (made.shares[i] < 0.1 || made.fallback[i % count]) continue;
      if (taken.some(([a, b]) => Math.abs(a - x) < 28 && Math.abs(b - y) < 13)) continue;
      taken.push([x, y]);
      const words = `${Math.round(100 * made.shares[i])}%`;
      draw.strokeText(words, x, y);
      draw.fillText(words, x, y);
    }
    draw.textAlign = "start";
  }

  modes(made, steps) {
    return made.agents.map((_, agent) => this.future(made, made.mode, agent * 2 * made.steps, agent, steps));
  }

  ahead(made, time) {
    if (shows("tube")) this.areas(made.ribbons.map((ring) => [ring]), palette.tube, 0.45);
    if (made.count > 1) this.dots(this.samples(made, made.steps, 0.6, 1.1), palette.sample, 1.6);
    if (shows("mode")) {
      const lines = this.modes(made, made.steps);
      this.lines(lines, palette.mode, 2);
      this.dots(lines.flatMap((line) => line.slice(-2)), palette.mode, 2.6);
    }
    if (shows("truth")) {
      const until = made.at + made.steps * made.dt;
      this.truth(made, time, (row, here) => [...here, ...stepsBetween(film.truth, row, time, until)]);
    }
    if (shows("history")) {
      const people = film.agents.map((agent, row) => [agent, row]).filter(([agent]) => agent.kind === PEDESTRIAN);
      const lines = people.map(([, row]) => {
        const here = agentAt(this.panel.tracks, row, time);
        return here ? [...stepsBetween(this.panel.tracks, row, time - 2, time), here.x, here.y] : [];
      });
      this.lines(lines, palette.history, 2);
    }
  }

  imagined(made, time) {
    const steps = Math.min((time - made.at) / made.dt, made.steps);
    if (shows("tube") && steps > 0) this.regions(made, steps);
    if (shows("history")) {
      this.lines(made.agents.map((row) => stepsBetween(film.truth, row, made.at - 2, made.at)), palette.history, 2);
    }
    if (made.count > 1) {
      this.samples(made, made.steps, 0.15, 0.9);
      this.dots(this.samples(made, steps, 0.55, 1), palette.sample, 2.2);
    }
    if (shows("mode")) this.lines(this.modes(made, made.steps), palette.mode, 1.5, 0.5);
    if (this.panel.isTrue && shows("truth")) {
      this.truth(made, time, (row, here) => [...stepsBetween(film.truth, row, made.at, time), ...here]);
    }
  }

  truth(made, time, path) {
    const lines = [];
    for (const row of made.agents) {
      const here = agentAt(film.truth, row, time);
      const line = here ? path(row, [here.x, here.y]) : [];
      if (line.length > 2) lines.push(line);
    }
    this.lines(lines, palette.truth, 2.4);
    this.dots(lines.flatMap((line) => line.slice(-2)), palette.truth, 2.8);
  }

  // Regions between two steps; before the first one they grow from the agent's place.
  regions(made, steps) {
    const corners = film.corners, whole = Math.min(Math.floor(steps), made.steps - 1), rest = steps - whole;
    const rings = [];
    made.tubed.forEach((agent, number) => {
      const ring = [];
      for (let corner = 0; corner < 2 * corners; corner++) {
        const at = (step) => made.rings[((number * made.steps) + step) * 2 * corners + corner];
        const from = whole ? at(whole - 1) : made.now[2 * agent + (corner % 2)];
        ring.push(from + rest * (at(whole) - from));
      }
      rings.push([ring]);
    });
    this.areas(rings, palette.tube, 0.4);
  }

  bar() {
    const metres = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((m) => m * state.scale >= 50) || 1000;
    const draw = this.context, y = this.height - 16, right = 14 + metres * state.scale;
    draw.fillStyle = "#ffffffd0";
    draw.fillRect(8, y - 22, right, 30);
    draw.fillStyle = palette.ink;
    draw.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    draw.fillText(`${metres} m`, 14, y - 6);
    draw.fillRect(14, y, metres * state.scale, 2);
  }
}

const shows = (name) => !state.hidden.has(name);
const pictures = film.panels.map((panel) => new Picture(panel));

// --- time and view

function refresh() {
  if (state.follows) {
    const [low, next, share] = place(film.camera.times, state.time);
    const { x, y } = film.camera;
    state.x = x[low] + share * (x[next] - x[low]);
    state.y = y[low] + share * (y[next] - y[low]);
  }
  for (const picture of pictures) picture.draw(state.time);
  const shown = film.isImagined ? `+${(state.time - film.start).toFixed(1)} s` : `${state.time.toFixed(1)} s`;
  byId("clock").textContent = shown;
  byId("slider").value = state.time;
}

function seek(time) {
  state.time = Math.min(Math.max(time, film.start), film.stop);
  refresh();
}

let last = 0;
function tick(now) {
  if (!state.isPlaying) return;
  const step = Math.min((now - last) / 1000, 0.2) * Number(byId("speed").value);
  last = now;
  if (state.time + step >= film.stop) play(false);
  seek(state.time + step);
  if (state.isPlaying) requestAnimationFrame(tick);
}

function play(on) {
  state.isPlaying = on;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) return;
  if (state.time >= film.stop - 1e-6) state.time = film.start;
  last = performance.now();
  requestAnimationFrame(tick);
}

function follow(on) {
  state.follows = on;
  byId("follow").setAttribute("aria-pressed", String(on));
  if (on) state.scale = usualScale();
  refresh();
}

const usualScale = () => {
  const { width, height } = pictures[0];
  return Math.max(Math.min(width / film.camera.width, height / film.camera.height), 0.5);
};

function zoom(factor, picture, x, y) {
  const scale = Math.min(Math.max(state.scale * factor, 0.5), 200);
  if (!state.follows && picture) {
    const dx = x - picture.width / 2, dy = picture.height / 2 - y;
    state.x += dx / state.scale - dx / scale;
    state.y += dy / state.scale - dy / scale;
  }
  state.scale = scale;
  refresh();
}

function resize() {
  for (const picture of pictures) picture.fit();
  if (state.follows) state.scale = usualScale();
  refresh();
}

// --- input

for (const picture of pictures) {
  const { canvas } = picture, touches = new Map();
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), picture, event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, [event.offsetX, event.offsetY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = touches.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY];
    const other = [...touches].find(([id]) => id !== event.pointerId);
    touches.set(event.pointerId, now);
    if (other) {
      const far = ([x, y]) => Math.hypot(x - other[1][0], y - other[1][1]);
      if (far(before) > 1) zoom(far(now) / far(before), picture, other[1][0], other[1][1]);
      return;
    }
    if (state.follows) follow(false);
    state.x -= (now[0] - before[0]) / state.scale;
    state.y += (now[1] - before[1]) / state.scale;
    refresh();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => touches.delete(event.pointerId));
  }
}

byId("play").addEventListener("click", () => play(!state.isPlaying));
byId("follow").addEventListener("click", () => follow(!state.follows));
byId("slider").addEventListener("input", (event) => { play(false); seek(Number(event.target.value)); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isForm = ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName);
  const keys = {
    " ": () => play(!state.isPlaying),
    ArrowLeft: () => { play(false); seek(state.time - 0.5); },
    ArrowRight: () => { play(false); seek(state.time + 0.5); },
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8),
    f: () => follow(!state.follows),
  };
  if (!keys[event.key] || (isForm && event.key !== "f" && event.key !== "+" && event.key !== "-")) return;
  event.preventDefault();
  keys[event.key]();
});

for (const { name, words, isLine } of film.legend) {
  const label = document.createElement("label"), box = document.createElement("input");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) state.hidden.delete(name); else state.hidden.add(name);
    refresh();
  });
  const swatch = document.createElement("i");
  swatch.style.background = palette[name];
  if (isLine) swatch.className = "line";
  label.append(box, swatch, words);
  byId("legend").append(label);
}

Object.assign(byId("slider"), { min: film.start, max: film.stop, step: 0.05 });
window.addEventListener("resize", resize);
resize();
play(true);
