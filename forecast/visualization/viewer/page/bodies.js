// Bodies in 3-D: walking figures, cyclists and vehicles. x is ahead, z is up.

import * as THREE from "./vendor/three.module.js";
import { COLOURS } from "./picture.js";

const CLOTHES = ["#3d5a80", "#5b7553", "#8a5a44", "#6b5b95", "#4a6670", "#93734b"];

export function bodyOf(agent) { return ({ pedestrian: figure, cyclist }[agent.kind] ?? vehicle)(agent); }

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

export function swing(body, walked, playing) {
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
