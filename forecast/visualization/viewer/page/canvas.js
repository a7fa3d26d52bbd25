// Draws groups on a canvas, and holds what part of the ground is seen.

export class View {
  constructor() { Object.assign(this, { x: 0, y: 0, scale: 9, width: 1, height: 1 }); }

  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2]; }

  toGround(px, py) { return [(px - this.width / 2) / this.scale + this.x, this.y - (py - this.height / 2) / this.scale]; }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toGround(px, py);
    this.scale = Math.min(Math.max(this.scale * factor, 0.4), 120);
    const [nx, ny] = this.toGround(px, py);
    this.x += x - nx;
    this.y += y - ny;
  }

  shows(x, y) {
    const [px, py] = this.toScreen(x, y);
    return px >= 0 && px <= this.width && py >= 0 && py <= this.height;
  }

  pan(dx, dy) { this.x -= dx / this.scale; this.y += dy / this.scale; }

  // Shows a box of the ground.
  fit(low, high) {
    this.x = (low[0] + high[0]) / 2;
    this.y = (low[1] + high[1]) / 2;
    const need = [Math.max(high[0] - low[0], 10), Math.max(high[1] - low[1], 10)];
    this.scale = Math.min(Math.max(0.92 * Math.min(this.width / need[0], this.height / need[1]), 0.4), 60);
  }
}

export function placedLabels(labels, view, widthOf) {
  const taken = [];
  const placed = [];
  for (const label of labels) {
    const [x, y] = view.toScreen(label.x, label.y, label.seconds);
    if (x < -40 || y < -20 || x > view.width + 40 || y > view.height + 20) continue;
    const width = widthOf(label.text) + 8;
    const top = y - Math.max(label.lift * view.scale, 6) - 20;
    const box = [x - width / 2, top, x + width / 2, top + 16];
    if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    taken.push(box);
    placed.push({ ...label, px: x, py: top + 8, width });
  }
  return placed;
}

// The scale: a length that is round and about 90 pixels long, and where its right end is drawn.
export function scaleBar(view) {
  const wish = 90 / view.scale;
  const power = 10 ** Math.floor(Math.log10(wish));
  const metres = [1, 2, 5, 10].map((each) => each * power).reduce((a, b) => (b <= wish * 1.2 ? b : a));
  const narrow = view.width < 600;  // there the legend fills the lower edge
  return { metres, pixels: metres * view.scale, x: view.width - 16, y: narrow ? 70 : view.height - 16 };
}

export class Renderer {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = view;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    Object.assign(this.view, { width: Math.max(width, 1), height: Math.max(height, 1) });
    this.ratio = ratio;
  }

  draw(groups, labels, ground) {
    const { context: c, view, ratio } = this;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = ground;
    c.fillRect(0, 0, view.width, view.height);
    const s = ratio * view.scale;
    const [ox, oy] = view.toScreen(0, 0);
    c.lineJoin = "round";
    c.lineCap = "round";
    for (const each of groups) this.drawGroup(each, s, ratio * ox, ratio * oy);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.globalAlpha = 1;
    c.setLineDash([]);
    this.drawLabels(labels);
    this.drawScale();
  }

  drawGroup(each, s, ox, oy) {
    const { context: c, view } = this;
    if (!each.lines.length) return;
    c.setTransform(s, 0, 0, -s, ox, oy);
    c.globalAlpha = each.alpha ?? 1;
    if (each.dots) {
      const path = new Path2D();
      for (const [x, y] of each.lines) { path.moveTo(x + each.dots / view.scale, y); path.arc(x, y, each.dots / view.scale, 0, 7); }
      this.paint(each, path);
      return;
    }
    each.path ??= pathOf(each);
    this.paint(each, each.path);
  }

  paint(each, path) {
    const { context: c, view } = this;
    if (each.fill) { c.fillStyle = each.fill; c.fill(path); }
    if (!each.stroke) return;
    c.globalAlpha = each.fill && each.alpha ? Math.min(1, 2 * each.alpha) : each.alpha ?? 1;
    c.strokeStyle = each.stroke;
    c.lineWidth = each.width / view.scale;
    c.setLineDash(each.dash ? each.dash.map((length) => length / view.scale) : []);
    c.stroke(path);
  }

  // Names alone, to lie over another picture.
  drawNames(labels) {
    const { context: c, view, ratio } = this;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, view.width, view.height);
    this.drawLabels(labels);
  }

  drawLabels(labels) {
    const c = this.context;
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.font = "600 12px system-ui, sans-serif";
    for (const label of placedLabels(labels, this.view, (text) => c.measureText(text).width)) {
      c.fillStyle = label.own ? "#1b1f24" : label.edited ? "#fdeadf" : "rgb(255 255 255 / .86)";
      c.beginPath();
      c.roundRect(label.px - label.width / 2, label.py - 8, label.width, 16, 4);
      c.fill();
      c.fillStyle = label.own ? "#ffffff" : label.edited ? "#9c410a" : "#39424d";
      c.fillText(label.text, label.px, label.py + 0.5);
    }
  }

  drawScale() {
    const { context: c, view } = this;
    const { metres, pixels, x, y } = scaleBar(view);
    c.strokeStyle = "#39424d";
    c.fillStyle = "#39424d";
    c.lineWidth = 1.6;
    c.beginPath();
    c.moveTo(x - pixels, y - 5); c.lineTo(x - pixels, y); c.lineTo(x, y); c.lineTo(x, y - 5);
    c.stroke();
    c.textAlign = "center";
    c.textBaseline = "bottom";
    c.font = "12px system-ui, sans-serif";
    c.fillText(`${metres} m`, x - pixels / 2, y - 3);
  }
}

function pathOf(each) {
  const path = new Path2D();
  for (const line of each.lines) {
    if (line.length < 4 || Number.isNaN(line[0])) continue;
    path.moveTo(line[0], line[1]);
    for (let i = 2; i < line.length; i += 2) path.lineTo(line[i], line[i + 1]);
    if (each.closed) path.closePath();
  }
  return path;
}
