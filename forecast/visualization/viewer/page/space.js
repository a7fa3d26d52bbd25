// The same scene in 3-D: extruded bodies, walking figures, and futures as ribbons that rise with
// time. three.js is loaded only here. x and y are the ground, z is up.

import * as THREE from "./vendor/three.module.js";
import { OrbitControls } from "./vendor/OrbitControls.js";
import { isPerson } from "./model.js";
import { COLOURS, isChanged } from "./picture.js";

const RISE_M_PER_S = 0.45;  // a ribbon is that much higher each second, so that time can be seen
const EYE_M = 1.6;
const MOST_SAMPLES = 40;  // of the selected agent
const CLOTHES = ["#3d5a80", "#5b7553", "#8a5a44", "#6b5b95", "#4a6670", "#93734b"];

export class Space {
  constructor(holder, app) {
    this.holder = holder;
    this.camera = new THREE.PerspectiveCamera(50, 1, 0.1, 800);
    this.camera.up.set(0, 0, 1);
    this.renderer = new THREE.WebGLRenderer({ antialias: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.shadowMap.enabled = true;
    holder.replaceChildren(this.renderer.domElement);
    const view = this.renderer.domElement;
    view.tabIndex = 0;
    view.setAttribute("role", "img");
    view.setAttribute("aria-label", "3-D view; the arrow keys move the camera");
    this.controls = new OrbitControls(this.camera, view);
    this.controls.maxPolarAngle = 1.53;
    this.controls.minDistance = 3;
    this.controls.maxDistance = 300;
    this.controls.listenToKeyEvents(view);
    this.controls.addEventListener("change", () => app.redraw());
    this.mode = "orbit";
    this.buttons = [...document.querySelectorAll("[data-camera]")];
    for (const button of this.buttons) {
      button.onclick = () => {
        this.mode = button.dataset.camera;
        for (const each of this.buttons) each.setAttribute("aria-pressed", String(each === button));
        if (this.mode === "orbit") this.lookFromAbove(app);
        app.redraw();
      };
    }
    this.bodies = new Map();
    this.build();
    this.lookFromAbove(app);
  }

  build() {
    this.world = new THREE.Scene();
    this.world.background = new THREE.Color("#dfe8ef");
    this.world.fog = new THREE.Fog("#dfe8ef", 90, 320);
    this.world.add(new THREE.HemisphereLight("#f4f8ff", "#8f938c", 1.9));
    this.sun = new THREE.DirectionalLight("#ffffff", 1.35);
    this.sun.castShadow = true;
    this.sun.shadow.mapSize.set(2048, 2048);
    Object.assign(this.sun.shadow.camera, { left: -70, right: 70, top: 70, bottom: -70, near: 1, far: 220 });
    this.sun.shadow.bias = -0.0005;
    this.world.add(this.sun, this.sun.target);
    this.map = new THREE.Group();
    this.ribbons = new THREE.Group();
    this.world.add(this.map, this.ribbons);
    this.mark = new THREE.Mesh(new THREE.RingGeometry(0.75, 0.95, 40), new THREE.MeshBasicMaterial({ color: "#f0a800" }));
    this.world.add(this.mark);
  }

  canvas() { return this.renderer.domElement; }

  lookFromAbove(app) {
    const { x, y, scale, height } = app.view;
    const far = Math.min(Math.max((height / scale) * 0.8, 20), 120);
    const ego = app.agents().get(app.scene.ego);
    const back = ego ? ego.heading + Math.PI : -2;
    this.controls.target.set(x, y, 0.5);
    this.camera.position.set(x + 0.75 * far * Math.cos(back), y + 0.75 * far * Math.sin(back), 0.6 * far);
    this.controls.update();
  }

  show(app, agents) {
    const { clientWidth: width, clientHeight: height } = this.holder;
    if (this.width !== width || this.height !== height) {
      Object.assign(this, { width, height });
      this.renderer.setSize(width, height);
      this.camera.aspect = width / Math.max(height, 1);
      this.camera.updateProjectionMatrix();
    }
    if (this.scene !== app.scene) this.showMap(app.scene);
    this.showAgents(app, agents);
    if (this.groups !== app.futureGroups || this.futures !== app.futures || this.selected !== app.selected) this.showFutures(app);
    const own = agents.get(app.selected);
    this.mark.visible = Boolean(own);
    if (own) {
      this.mark.position.set(own.x, own.y, 0.06);
      this.mark.scale.setScalar(Math.max(1, own.length * 0.75));
    }
    const ego = agents.get(app.scene.ego);
    this.ribbons.scale.z = this.mode === "ego" ? 0.12 : 1;  // seen from the road, high ribbons hide it
    this.controls.enabled = this.mode === "orbit" || !ego;
    if (!this.controls.enabled) this.lookFromEgo(ego);
    else if (app.follow && ego) this.followEgo(ego);
    const centre = this.controls.target;
    this.sun.target.position.copy(centre);
    this.sun.position.set(centre.x - 45, centre.y + 30, 80);
    this.render();
  }

  render() { this.renderer.render(this.world, this.camera); }

  lookFromEgo({ x, y, heading, length }) {
    const ahead = 0.2 * length;
    this.camera.position.set(x + ahead * Math.cos(heading), y + ahead * Math.sin(heading), EYE_M + 0.25);
    this.camera.lookAt(x + 20 * Math.cos(heading), y + 20 * Math.sin(heading), 0.9);
    this.controls.target.set(x + 12 * Math.cos(heading), y + 12 * Math.sin(heading), 0);
  }

  followEgo({ x, y }) {
    const { target } = this.controls;
    this.camera.position.x += x - target.x;
    this.camera.position.y += y - target.y;
    target.set(x, y, 0.5);
    this.camera.lookAt(target);
  }

  showMap(scene) {
    this.scene = scene;
    clear(this.map);
    for (const body of this.bodies.values()) this.world.remove(body);
    this.bodies.clear();
    const ground = new THREE.Mesh(new THREE.PlaneGeometry(1600, 1600), new THREE.MeshLambertMaterial({ color: "#c8cdc4" }));
    ground.position.set(0, 0, -0.06);
    ground.receiveShadow = true;
    this.map.add(ground);
    this.addArea(scene.map.drivable_area, "#9aa3ad", 0);
    this.addArea(scene.map.walkways, "#d3d3cb", 0.02);
    this.addArea(scene.map.crosswalks, "#dedbea", 0.03);
    this.addLines(scene.map.dividers, "#f0e5bf", 0.04);
    this.addLines(scene.map.centerlines, "#c6ccd4", 0.04);
  }

  // Rings are one after the other, holes too. A ring inside another one is taken for its hole.
  addArea(rings, colour, z) {
    const outer = [];
    const sorted = rings.filter((ring) => ring.length >= 6).map((ring) => ({ ring, area: Math.abs(area(ring)) })).sort((a, b) => b.area - a.area);
    for (const { ring } of sorted) {
      const holder = outer.find((each) => inside(ring[0], ring[1], each.ring));
      if (holder) holder.holes.push(ring);
      else outer.push({ ring, holes: [] });
    }
    for (const { ring, holes } of outer) {
      const shape = new THREE.Shape(corners(ring));
      shape.holes = holes.map((hole) => new THREE.Path(corners(hole)));
      const mesh = new THREE.Mesh(new THREE.ShapeGeometry(shape), new THREE.MeshLambertMaterial({ color: colour, side: THREE.DoubleSide }));
      mesh.position.z = z;
      mesh.receiveShadow = true;
      this.map.add(mesh);
    }
  }

  addLines(lines, colour, z) {
    const points = [];
    for (const line of lines) for (let i = 2; i < line.length; i += 2) points.push(line[i - 2], line[i - 1], z, line[i], line[i + 1], z);
    const geometry = new THREE.BufferGeometry().setAttribute("position", new THREE.Float32BufferAttribute(points, 3));
    this.map.add(new THREE.LineSegments(geometry, new THREE.LineBasicMaterial({ color: colour })));
  }

  showAgents(app, agents) {
    for (const [name, body] of this.bodies) {
      if (agents.has(name)) continue;
      clear(body);
      this.world.remove(body);
      this.bodies.delete(name);
    }
    for (const agent of agents.values()) {
      let body = this.bodies.get(agent.name);
      if (!body) {
        body = ({ pedestrian: figure, cyclist }[agent.kind] ?? vehicle)(agent);
        this.bodies.set(agent.name, body);
        this.world.add(body);
      }
      const walked = body.userData.last ? Math.hypot(agent.x - body.userData.last.x, agent.y - body.userData.last.y) : 0;
      body.position.set(agent.x, agent.y, 0);
      body.rotation.z = agent.heading;
      body.visible = !(agent.kind === "ego" && this.mode === "ego");
      if (body.userData.legs) swing(body, walked < 3 ? walked : 0, app.playing);
      body.userData.last = { x: agent.x, y: agent.y };
    }
  }

  showFutures(app) {
    const { futures, selected, layers } = app;
    Object.assign(this, { groups: app.futureGroups, futures, selected });
    clear(this.ribbons);
    if (!futures) return;
    const recorded = app.scene.row.get(selected);
    if (layers.truth && !futures.edited && recorded !== undefined && futures.row.has(selected)) {
      const { at } = futures.state;
      const truth = app.scene.path(recorded, at, at + Math.round((futures.steps * futures.dt_s) / app.scene.dt)).slice(2);
      if (truth.length) this.addRibbon(futures.now(futures.row.get(selected)), truth, COLOURS.truth, 0.12, 0.9);
    }
    futures.names.forEach((name, row) => {
      if (!futures.valid[row] || (!isPerson(futures.kinds[row]) && !layers.vehicles && name !== selected)) return;
      const own = name === selected;
      const now = futures.now(row);
      const changed = isChanged(futures, row);
      const colour = changed || (own && futures.edited) ? COLOURS.after : futures.edited ? COLOURS.unchanged : COLOURS.before;
      const before = layers.before && futures.beforeRow.has(name) && (changed || (own && futures.edited));
      if (before) {
        const there = futures.beforeRow.get(name);
        const was = app.scene.pose(app.scene.row.get(name), futures.state.at) ?? now;
        this.addRibbon(was, futures.mode(there, true), COLOURS.before, own ? 0.15 : 0.1, own ? 0.95 : 0.7);
        if (own && layers.futures) for (let k = 0; k < Math.min(futures.samples, MOST_SAMPLES); k++) this.addRibbon(was, futures.sample(k, there, true), COLOURS.before, 0.07, 0.3);
      }
      this.addRibbon(now, futures.mode(row), colour, own ? 0.15 : 0.1, own ? 0.95 : 0.7);
      const few = own ? Math.min(futures.samples, MOST_SAMPLES) : 6;
      if (layers.futures) for (let k = 0; k < Math.min(futures.samples, few); k++) this.addRibbon(now, futures.sample(k, row), colour, own ? 0.07 : 0.04, own ? 0.4 : 0.16);
    });
  }

  // A band along a path, rising with time.
  addRibbon(now, path, colour, width, opacity) {
    const count = path.length / 2 + 1;
    const vertices = new Float32Array(6 * count);
    const faces = [];
    const x = (i) => (i ? path[2 * i - 2] : now.x);
    const y = (i) => (i ? path[2 * i - 1] : now.y);
    let [nx, ny] = [0, 1];
    for (let i = 0; i < count; i++) {
      const [from, to] = [Math.max(i - 1, 0), Math.min(i + 1, count - 1)];
      const [dx, dy] = [x(to) - x(from), y(to) - y(from)];
      const far = Math.hypot(dx, dy);
      if (far > 1e-3) [nx, ny] = [-dy / far, dx / far];
      const z = 0.08 + i * this.futures.dt_s * RISE_M_PER_S;
      vertices.set([x(i) + nx * width, y(i) + ny * width, z, x(i) - nx * width, y(i) - ny * width, z], 6 * i);
      if (i) faces.push(2 * i - 2, 2 * i - 1, 2 * i, 2 * i - 1, 2 * i + 1, 2 * i);
    }
    const geometry = new THREE.BufferGeometry().setAttribute("position", new THREE.BufferAttribute(vertices, 3));
    geometry.setIndex(faces);
    this.ribbons.add(new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ color: colour, transparent: true, opacity, side: THREE.DoubleSide, depthWrite: false })));
  }

  close() {
    clear(this.world);
    this.controls.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.holder.replaceChildren();
  }
}

function clear(group) {
  group.traverse((each) => { each.geometry?.dispose(); each.material?.dispose?.(); });
  group.clear();
}

function mesh(geometry, colour, x, y, z) {
  const made = new THREE.Mesh(geometry, new THREE.MeshLambertMaterial({ color: colour }));
  made.position.set(x, y, z);
  made.castShadow = true;
  return made;
}

// A person: legs and arms that swing, a body, a head.
function figure({ name, height }) {
  const group = new THREE.Group();
  const tall = Math.min(Math.max(height, 1), 2.2) / 1.75;
  const clothes = CLOTHES[[...name].reduce((sum, c) => sum + c.charCodeAt(0), 0) % CLOTHES.length];
  const limb = (length, radius, colour, y, z) => {
    const geometry = new THREE.CapsuleGeometry(radius, length - 2 * radius, 3, 8).rotateX(Math.PI / 2).translate(0, 0, -length / 2);
    return mesh(geometry, colour, 0, y, z);
  };
  const legs = [limb(0.85, 0.08, "#2d3440", 0.1, 0.86), limb(0.85, 0.08, "#2d3440", -0.1, 0.86)];
  const arms = [limb(0.6, 0.055, clothes, 0.26, 1.38), limb(0.6, 0.055, clothes, -0.26, 1.38)];
  const trunk = mesh(new THREE.CapsuleGeometry(0.17, 0.34, 4, 12).rotateX(Math.PI / 2), clothes, 0, 0, 1.13);
  const head = mesh(new THREE.SphereGeometry(0.125, 16, 12), "#c99f7e", 0, 0, 1.6);
  group.add(...legs, ...arms, trunk, head);
  group.scale.setScalar(tall);
  group.userData = { legs, arms, phase: 0 };
  return group;
}

function swing(body, walked, playing) {
  const data = body.userData;
  data.phase += walked * 4.2;
  const wide = walked > 1e-4 ? 0.55 : playing ? data.wide * 0.9 : 0.25;
  data.wide = Number.isFinite(wide) ? wide : 0.25;
  const angle = data.wide * Math.sin(data.phase + 0.9);
  data.legs[0].rotation.y = angle;
  data.legs[1].rotation.y = -angle;
  data.arms[0].rotation.y = -0.8 * angle;
  data.arms[1].rotation.y = 0.8 * angle;
}

// A person on a cycle, who leans forward.
function cyclist(agent) {
  const group = new THREE.Group();
  const rider = figure({ ...agent, height: 1.5 });
  rider.position.set(-0.12, 0, 0.25);
  rider.rotation.y = 0.25;
  delete rider.userData.legs;
  const reach = Math.max(agent.length / 2 - 0.35, 0.4);
  for (const x of [reach, -reach]) group.add(mesh(new THREE.TorusGeometry(0.32, 0.04, 8, 24).rotateX(Math.PI / 2), "#23272c", x, 0, 0.35));
  group.add(mesh(new THREE.BoxGeometry(2 * reach, 0.06, 0.08), "#7a2f2f", 0, 0, 0.6), mesh(new THREE.BoxGeometry(0.06, 0.5, 0.06), "#23272c", reach - 0.1, 0, 1.0), rider);
  return group;
}

function vehicle({ kind, length, width, height }) {
  const group = new THREE.Group();
  const colour = { ego: "#26323f", static: "#b9b4a6", obstacle: COLOURS.obstacle }[kind] ?? "#8d99a8";
  if (kind !== "vehicle" && kind !== "ego") {
    group.add(mesh(new THREE.BoxGeometry(length, width, height), colour, 0, 0, height / 2));
    return group;
  }
  const low = height > 2.2 ? 0.92 : 0.56;  // tall ones are buses and trucks, without a bonnet
  group.add(mesh(new THREE.BoxGeometry(length, width, height * low - 0.25), colour, 0, 0, 0.25 + (height * low - 0.25) / 2));
  if (low < 0.9) group.add(mesh(new THREE.BoxGeometry(length * 0.52, width * 0.86, height * 0.42), kind === "ego" ? "#5f7387" : "#5c6773", -0.05 * length, 0, height * 0.77));
  else group.add(mesh(new THREE.BoxGeometry(0.1, width * 0.86, height * 0.3), "#4c5763", length / 2, 0, height * 0.68));
  const wheel = new THREE.CylinderGeometry(0.33, 0.33, 0.22, 16);
  for (const x of [0.31, -0.31]) for (const y of [0.46, -0.46]) group.add(mesh(wheel.clone(), "#23272c", x * length, y * width, 0.33));
  for (const y of [0.32, -0.32]) group.add(mesh(new THREE.BoxGeometry(0.06, width * 0.2, 0.12), "#fff6d0", length / 2, y * width, 0.25 + height * 0.25));
  return group;
}

function corners(ring) {
  const points = [];
  for (let i = 0; i < ring.length; i += 2) points.push(new THREE.Vector2(ring[i], ring[i + 1]));
  return points;
}

function area(ring) {
  let sum = 0;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) sum += ring[j] * ring[i + 1] - ring[i] * ring[j + 1];
  return sum / 2;
}

function inside(x, y, ring) {
  let odd = false;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    if (ring[i + 1] > y !== ring[j + 1] > y && x < ((ring[j] - ring[i]) * (y - ring[i + 1])) / (ring[j + 1] - ring[i + 1]) + ring[i]) odd = !odd;
  }
  return odd;
}
