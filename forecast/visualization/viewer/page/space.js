// The same scene in 3-D: bodies, and the groups of the plan view as ribbons and discs that rise with
// time. three.js is loaded only for this view. x and y are the ground, z is up.

import * as THREE from "./vendor/three.module.js";
import { OrbitControls } from "./vendor/OrbitControls.js";
import { bodyOf, swing } from "./bodies.js";
import { Renderer } from "./canvas.js";
import { corners, heightOf, meshes } from "./ribbons.js";

const EYE_M = 1.6;
const NAME_M = 2.1;  // how high the names of agents are
const NEAREST_M = 2;  // a name nearer to the camera is not drawn

export class Space {
  constructor(holder, app) {
    this.holder = holder;
    this.camera = new THREE.PerspectiveCamera(50, 1, 0.1, 800);
    this.camera.up.set(0, 0, 1);
    this.renderer = new THREE.WebGLRenderer({ antialias: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.shadowMap.enabled = true;
    const view = this.renderer.domElement;
    const names = document.createElement("canvas");
    holder.replaceChildren(view, names);
    this.names = new Renderer(names, { scale: 0, toScreen: (x, y, seconds) => this.toScreen(x, y, seconds) });
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

  // The picture with its names, as a canvas of its own.
  picture() {
    this.render();  // what it drew before is gone once it was shown
    const view = this.renderer.domElement;
    const whole = Object.assign(document.createElement("canvas"), { width: view.width, height: view.height });
    for (const each of [view, this.names.canvas]) whole.getContext("2d").drawImage(each, 0, 0, view.width, view.height);
    return whole;
  }

  // Where the camera sees a name, in pixels; far outside if it is behind it.
  toScreen(x, y, seconds) {
    const z = seconds === undefined ? NAME_M : heightOf(seconds) * this.ribbons.scale.z;
    const seen = new THREE.Vector3(x, y, z).applyMatrix4(this.camera.matrixWorldInverse);
    if (seen.z > -NEAREST_M) return [-1e4, -1e4];
    seen.applyMatrix4(this.camera.projectionMatrix);
    return [(0.5 + seen.x / 2) * this.width, (0.5 - seen.y / 2) * this.height];
  }

  lookFromAbove(app) {
    const { x, y, scale, height } = app.view;
    const far = Math.min(Math.max((height / scale) * 0.8, 20), 120);
    const ego = app.agents().get(app.scene.ego);
    const back = ego ? ego.heading + Math.PI : -2;
    this.controls.target.set(x, y, 0.5);
    this.camera.position.set(x + 0.75 * far * Math.cos(back), y + 0.75 * far * Math.sin(back), 0.6 * far);
    this.controls.update();
  }

  show(app, { agents, plans, futures, names }) {
    const { clientWidth: width, clientHeight: height } = this.holder;
    if (this.width !== width || this.height !== height) {
      Object.assign(this, { width, height });
      this.renderer.setSize(width, height);
      this.camera.aspect = width / Math.max(height, 1);
      this.camera.updateProjectionMatrix();
    }
    if (this.scene !== app.scene) this.showMap(app.scene);
    this.showAgents(app, agents);
    this.showGroups(plans, futures);
    const own = agents.get(app.selected);
    this.mark.visible = Boolean(own);
    if (own) {
      this.mark.position.set(own.x, own.y, 0.09);
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
    this.names.resize();
    this.names.drawNames(names);
  }

  // Plans and futures; they are made anew only when they differ.
  showGroups(plans, futures) {
    if (this.plans === plans && this.futures === futures) return;
    Object.assign(this, { plans, futures });
    clear(this.ribbons);
    for (const each of [...plans, ...futures].flatMap(meshes)) this.ribbons.add(each);
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
    for (const name of this.bodies.keys()) this.removeBody(name);
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

  addArea(polygons, colour, z) {
    for (const [ring, ...holes] of polygons) {
      if (ring.length < 6) continue;
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
    for (const name of this.bodies.keys()) if (!agents.has(name)) this.removeBody(name);
    for (const agent of agents.values()) {
      let body = this.bodies.get(agent.name);
      if (!body) {
        body = bodyOf(agent);
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

  removeBody(name) {
    const body = this.bodies.get(name);
    clear(body);
    this.world.remove(body);
    this.bodies.delete(name);
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
