// The groups of picture.js in 3-D: lines become flat bands. What is ahead in time is higher, so that
// time can be seen.

import * as THREE from "./vendor/three.module.js";

const RISE_M_PER_S = 0.45;
const PIXEL_M = 0.07;  // what a pixel of the plan view's widths becomes
const GROUND_M = 0.06;
const REGION_ALPHA = 2.5;  // regions are seen against a darker ground than in the plan view

export function heightOf(seconds) { return GROUND_M + RISE_M_PER_S * seconds; }

// The meshes of a group: its surfaces, then its lines.
export function meshes(each) {
  const flat = heightOf(each.seconds ?? 0);
  const lines = (each.dots ? each.lines.map((line) => circle(line, each.dots * PIXEL_M)) : each.lines).filter(isDrawn);
  const found = [];
  if (each.fill && lines.length) {
    const alpha = each.closed && each.seconds ? REGION_ALPHA * each.alpha : each.alpha;
    found.push(mesh(surface(lines).translate(0, 0, flat), each.fill, alpha));
  }
  if (each.stroke && lines.length) {
    const height = each.stepS ? (point) => heightOf(point * each.stepS) : () => flat;
    const paths = lines.map((line) => rising(line, height));
    const drawn = each.dash ? paths.flatMap((path) => dashes(path, each.dash)) : paths;
    found.push(mesh(bands(drawn, (each.width * PIXEL_M) / 2), each.stroke, each.alpha));
  }
  return found;
}

export function corners(ring) {
  const points = [];
  for (let i = 0; i < ring.length; i += 2) points.push(new THREE.Vector2(ring[i], ring[i + 1]));
  return points;
}

function isDrawn(line) { return line.length >= 4 && !Number.isNaN(line[0]); }

function mesh(geometry, color, opacity = 1) {
  const seen = { color, opacity, transparent: true, side: THREE.DoubleSide, depthWrite: false };
  return new THREE.Mesh(geometry, new THREE.MeshBasicMaterial(seen));
}

function surface(rings) { return new THREE.ShapeGeometry(rings.map((ring) => new THREE.Shape(corners(ring)))); }

// A circle whose last point is its first one.
function circle([x, y], radius) {
  const ring = [];
  for (let i = 0; i <= 24; i++) ring.push(x + radius * Math.cos((i * Math.PI) / 12), y + radius * Math.sin((i * Math.PI) / 12));
  return ring;
}

// The points of a line in space; point i of it is height(i) high.
function rising(line, height) {
  const path = [];
  for (let i = 0; 2 * i < line.length; i++) path.push([line[2 * i], line[2 * i + 1], height(i)]);
  return path;
}

// The pieces of a path that a dashed line shows; lengths of dash and gap in pixels of the plan view.
function dashes(path, pattern) {
  const [dash, gap] = pattern.map((pixels) => pixels * PIXEL_M);
  const pieces = [];
  let [piece, left, shows] = [[path[0]], dash, true];
  for (let i = 1; i < path.length; i++) {
    let from = path[i - 1];
    let way = Math.hypot(path[i][0] - from[0], path[i][1] - from[1]);
    while (way > left) {
      from = from.map((value, axis) => value + ((path[i][axis] - value) * left) / way);
      way -= left;
      if (shows) pieces.push([...piece, from]);
      [piece, shows] = [[from], !shows];
      left = shows ? dash : gap;
    }
    left -= way;
    piece.push(path[i]);
  }
  return shows && piece.length > 1 ? [...pieces, piece] : pieces;
}

// Bands along paths as one geometry.
function bands(paths, half) {
  const [vertices, faces] = [[], []];
  for (const path of paths) addBand(path, half, vertices, faces);
  const geometry = new THREE.BufferGeometry().setAttribute("position", new THREE.Float32BufferAttribute(vertices, 3));
  return geometry.setIndex(faces);
}

function addBand(path, half, vertices, faces) {
  const first = vertices.length / 3;
  let [nx, ny] = [0, half];
  path.forEach(([x, y, z], i) => {
    const [from, to] = [path[Math.max(i - 1, 0)], path[Math.min(i + 1, path.length - 1)]];
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const far = Math.hypot(dx, dy);
    if (far > 1e-3) [nx, ny] = [(-dy * half) / far, (dx * half) / far];
    vertices.push(x + nx, y + ny, z, x - nx, y - ny, z);
    const at = first + 2 * i;
    if (i) faces.push(at - 2, at - 1, at, at - 1, at + 1, at);
  });
}
