// A scene and its futures, as the frames give them. Places are in metres relative to the origin.

export class Scene {
  constructor({ header, arrays }) {
    Object.assign(this, { id: header.scene, dt: header.dt_s, steps: header.steps });
    Object.assign(this, { names: header.agents, kinds: header.kinds, categories: header.categories });
    this.location = header.location;
    this.description = header.description;
    this.between = new Set(header.between);
    this.positions = arrays.positions.data;
    this.headings = arrays.headings.data;
    this.sizes = arrays.sizes.data;
    this.row = new Map(this.names.map((name, row) => [name, row]));
    this.ego = this.names[this.kinds.indexOf("ego")];
    this.map = {};
    const linesOf = (part) => lines(arrays[`${part}.points`].data, arrays[`${part}.offsets`].data);
    for (const part of ["centerlines", "dividers"]) this.map[part] = linesOf(part);
    for (const part of ["drivable_area", "walkways", "crosswalks"]) {
      this.map[part] = polygons(linesOf(part), arrays[`${part}.polygons`].data);
    }
  }

  size(row) { return this.sizes.subarray(3 * row, 3 * row + 3); }

  // Place and heading at a time in steps, between two steps on the straight line; or null.
  pose(row, time) {
    const step = Math.min(Math.floor(time), this.steps - 1);
    const share = time - step;
    const i = row * this.steps + step;
    let x = this.positions[2 * i];
    let y = this.positions[2 * i + 1];
    if (Number.isNaN(x)) return null;
    let heading = this.headings[i];
    if (share > 1e-6 && step + 1 < this.steps && !Number.isNaN(this.positions[2 * i + 2])) {
      x += share * (this.positions[2 * i + 2] - x);
      y += share * (this.positions[2 * i + 3] - y);
      heading += share * wrapped(this.headings[i + 1] - heading);
    }
    return { x, y, heading };
  }

  // The recorded places from one step to another as points in a row, without gaps before them.
  path(row, from, to) {
    const points = [];
    for (let step = Math.max(from, 0); step <= Math.min(to, this.steps - 1); step++) {
      const i = 2 * (row * this.steps + step);
      if (Number.isNaN(this.positions[i])) { if (to > from && step > from + 1) break; points.length = 0; continue; }
      points.push(this.positions[i], this.positions[i + 1]);
    }
    return points;
  }

  speed(row, step) {
    const now = this.pose(row, step);
    const past = step > 0 ? this.pose(row, step - 1) : null;
    return now && past ? Math.hypot(now.x - past.x, now.y - past.y) / this.dt : 0;
  }
}

export class Futures {
  constructor({ header, arrays }) {
    Object.assign(this, header);
    this.arrays = arrays;
    this.names = header.agents;
    this.row = new Map(this.names.map((name, row) => [name, row]));
    this.ego = this.names[header.kinds.indexOf("ego")];
    this.beforeRow = new Map((header.before_agents ?? []).map((name, row) => [name, row]));
    [this.samples, , this.steps] = arrays.positions.shape;
    this.edited = header.source === "World";
    this.flagged = new Set(Object.entries(header.ood).filter(([, o]) => o.score > o.most).map(([n]) => n));
    this.fallbacks = new Set(header.fallback);
  }

  now(row) {
    const [x, y, heading, speed] = this.arrays.now.data.subarray(4 * row, 4 * row + 4);
    return { x, y, heading, speed };
  }

  size(row) { return this.arrays.sizes.data.subarray(3 * row, 3 * row + 3); }

  sample(k, row, before = false) {
    const { data, shape } = before ? this.arrays.before : this.arrays.positions;
    const length = 2 * shape[2];
    const start = (k * shape[1] + row) * length;
    return data.subarray(start, start + length);
  }

  mode(row, before = false) {
    const { data, shape } = before ? this.arrays.before_mode : this.arrays.mode;
    return data.subarray(row * 2 * shape[1], (row + 1) * 2 * shape[1]);
  }

  // A mode set of an agent, from the most to the least probable; empty without one of that size.
  modes(row, size) {
    const { [`modes.${size}`]: modes, [`mode_shares.${size}`]: shares } = this.arrays;
    if (!modes) return [];
    const [, count, steps] = modes.shape;
    return Array.from({ length: count }, (_, mode) => {
      const index = row * count + mode;
      return { probability: shares.data[index], path: modes.data.subarray(2 * index * steps, 2 * (index + 1) * steps) };
    });
  }

  // What the list of futures offers: a name, a probability or null, and the path of an agent.
  choices() {
    const every = [{ name: "Most probable", probability: null, path: (row) => this.mode(row) }];
    for (let k = 0; k < this.samples; k++) {
      every.push({ name: `Sample ${k + 1}`, probability: this.weights[k], path: (row) => this.sample(k, row) });
    }
    return every;
  }

  // Place and heading of an agent on a path, some seconds from now.
  ahead(row, path, seconds) {
    const now = this.now(row);
    const at = Math.min(seconds / this.dt_s, this.steps);
    const point = (step) => (step < 1 ? [now.x, now.y] : [path[2 * step - 2], path[2 * step - 1]]);
    const step = Math.min(Math.floor(at), this.steps - 1);
    const [a, b] = [point(step), point(step + 1)];
    const share = at - step;
    const way = [b[0] - a[0], b[1] - a[1]];
    return {
      x: a[0] + share * way[0],
      y: a[1] + share * way[1],
      heading: this.plannedHeading(row, step, share) ?? this.lastHeading(point, step) ?? now.heading,
      speed: Math.hypot(...way) / this.dt_s,
    };
  }

  // The heading that a plan of the agent has between a step and the next, or undefined without one.
  plannedHeading(row, step, share) {
    const name = this.names[row];
    const plan = this.state.edits.find((edit) => edit.do === "follow" && (edit.agent ?? this.ego) === name);
    if (step >= (plan?.poses.length ?? 0)) return undefined;
    const from = step < 1 ? this.now(row).heading : plan.poses[step - 1][2];
    return from + share * wrapped(plan.poses[step][2] - from);
  }

  // The direction of the last step up to one that moved: who stops, keeps it. Undefined without one.
  lastHeading(point, upTo) {
    for (let step = upTo; step >= 0; step--) {
      const [a, b] = [point(step), point(step + 1)];
      if (Math.hypot(b[0] - a[0], b[1] - a[1]) > 0.05 * this.dt_s) return Math.atan2(b[1] - a[1], b[0] - a[0]);
    }
    return undefined;
  }

  // Corners of an agent's region at a step, or null.
  region(level, row, step) {
    const found = this.arrays.regions;
    const index = this.levels.findIndex((each) => Math.abs(each - level) < 1e-6);
    if (!found || index < 0) return null;
    const [, agents, steps] = found.shape;
    const start = 5 * ((index * agents + row) * steps + step);
    const [x, y, a, b, c] = found.data.subarray(start, start + 5);
    if (Number.isNaN(x)) return null;
    const ring = [];
    for (let i = 0; i < 36; i++) {
      const [cos, sin] = [Math.cos((i * Math.PI) / 18), Math.sin((i * Math.PI) / 18)];
      ring.push(x + a * cos, y + b * cos + c * sin);
    }
    return ring;
  }
}

export function isPerson(kind) { return kind === "pedestrian" || kind === "cyclist"; }

const LETTERS = { pedestrian: "P", cyclist: "C", vehicle: "V", ego: "Ego", static: "S" };

// A name short enough to draw: the dataset's own if it is short, else kind and number.
export function shortName(name, kind, row) {
  if (kind === "ego") return "Ego";
  return name.length <= 12 ? name : `${LETTERS[kind] ?? "A"}${row}`;
}

export function wrapped(angle) { return Math.atan2(Math.sin(angle), Math.cos(angle)); }

// Polygons as lists of rings, the outer one first. Outer rings turn left and holes turn right: so all
// polygons of a part can be filled as one path by the rule "nonzero", also where they overlap.
function polygons(rings, offsets) {
  const found = [];
  for (let i = 0; i + 1 < offsets.length; i++) {
    found.push(Array.from(rings.slice(offsets[i], offsets[i + 1]), (ring, hole) => turned(ring, !hole)));
  }
  return found;
}

// A ring that turns left, or right.
function turned(ring, left) {
  let area = 0;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) area += ring[j] * ring[i + 1] - ring[i] * ring[j + 1];
  if (area > 0 === left) return ring;
  const points = Array.from({ length: ring.length / 2 }, (_, i) => ring.subarray(2 * i, 2 * i + 2));
  return Float32Array.from(points.reverse().flatMap((point) => [...point]));
}

function lines(points, offsets) {
  const found = [];
  for (let i = 0; i + 1 < offsets.length; i++) found.push(points.subarray(2 * offsets[i], 2 * offsets[i + 1]));
  return found;
}
