// The state of the page, undo and redo, and the address that holds it.
// A state is what the server's `State` is: scene, at, seed, samples, edits.

const MOST = 500;

export class History {
  constructor(onChange) {
    this.onChange = onChange;
    this.past = [];
    this.future = [];
    this.state = { scene: "", at: 0, seed: 0, samples: 20, edits: [] };
  }

  // Replaces parts of the state. `undoable` is false for what is not an edit, such as the time.
  commit(change, undoable = true) {
    const next = { ...this.state, ...change };
    if (JSON.stringify(next) === JSON.stringify(this.state)) return;
    if (undoable) {
      this.past.push(this.state);
      if (this.past.length > MOST) this.past.shift();
      this.future = [];
    }
    this.state = next;
    this.onChange();
  }

  undo() { this.move(this.past, this.future); }

  redo() { this.move(this.future, this.past); }

  move(from, to) {
    if (!from.length) return;
    to.push(this.state);
    this.state = from.pop();
    this.onChange();
  }

  // Takes the last change back because the server refused it; it cannot be redone.
  drop() {
    if (!this.past.length) return false;
    this.state = this.past.pop();
    this.onChange();
    return true;
  }
}

export function toAddress(page) {
  const bytes = new TextEncoder().encode(JSON.stringify(page));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return "#" + btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

// What an address holds: {state, selected, view}, a scene alone, or null if it cannot be read.
export function fromAddress(hash) {
  const text = hash.replace(/^#/, "");
  if (!text) return null;
  try {
    if (text.startsWith("scene=")) return { state: { scene: decodeURIComponent(text.slice(6)) } };
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const page = JSON.parse(new TextDecoder().decode(Uint8Array.from(plain, (c) => c.charCodeAt(0))));
    return isState(page?.state) ? page : null;
  } catch {
    return null;
  }
}

function isState(state) {
  const whole = ["at", "seed", "samples"].every((name) => Number.isInteger(state?.[name]));
  return whole && typeof state.scene === "string" && Array.isArray(state.edits) && state.edits.every((edit) => typeof edit?.do === "string");
}

// The edits with another change of an agent. One that was added, or changed before, keeps its edit.
export function changed(edits, agent, patch) {
  const next = edits.map((edit) => ({ ...edit }));
  const own = next.find((edit) => ["add", "put_obstacle"].includes(edit.do) && nameOf(edit) === agent);
  if (own) {
    const allowed = own.do === "put_obstacle" ? without(patch, "speed_mps") : patch;
    Object.assign(own, allowed);
    return next;
  }
  const before = next.find((edit) => edit.do === "change" && edit.agent === agent);
  if (before) Object.assign(before, patch);
  else next.push({ do: "change", agent, ...patch });
  return next;
}

// The edits with a command for an agent instead of its former one of that kind.
export function commanded(edits, command) {
  const same = (edit) => ["go_to", "follow", "act"].includes(edit.do) && nameOf(edit) === nameOf(command);
  return [...edits.filter((edit) => !same(edit)), command];
}

// The edits without the plans of agents that now begin elsewhere, or with another heading or speed: a
// plan is of poses in the scene, so the agent would jump to it.
export function withoutLostPlans(before, after, ego) {
  const start = (edits, agent) => JSON.stringify(edits.filter((edit) => ["add", "change"].includes(edit.do) && edit.agent === agent));
  const lost = ({ agent }) => start(before, agent ?? ego) !== start(after, agent ?? ego);
  return after.filter((edit) => edit.do !== "follow" || !lost(edit));
}

export function removed(edits, agent) {
  const added = edits.some((edit) => ["add", "put_obstacle"].includes(edit.do) && nameOf(edit) === agent);
  const rest = edits.filter((edit) => nameOf(edit) !== agent);
  return added ? rest : [...rest, { do: "remove", agent }];
}

// The agent of an edit; null is the ego.
export function nameOf(edit) { return edit.agent ?? edit.name ?? null; }

function without(object, key) {
  const { [key]: _, ...rest } = object;
  return rest;
}
