// Frames and the socket. A frame is a header in JSON and arrays in float32; see frames.py.

function readFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const arrays = {};
  for (const [name, shape] of header.arrays) {
    const count = shape.reduce((product, size) => product * size, 1);
    arrays[name] = { shape, data: new Float32Array(buffer, at, count) };
    at += 4 * count;
  }
  return { header, arrays };
}

export async function getJson(address, options) {
  const response = await fetch(address, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

export async function getFrame(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error((await response.json()).error ?? response.statusText);
  return readFrame(await response.arrayBuffer());
}

// A socket that connects again by itself. Only the newest request of a kind is sent again then.
export class Connection {
  constructor(onFrame, onState) {
    this.onFrame = onFrame;
    this.onState = onState;
    this.last = new Map();
    this.id = 0;
    this.wait = 300;
    this.open();
  }

  open() {
    const address = new URL("socket", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = 300;
      this.onState(true);
      for (const message of this.last.values()) this.socket.send(JSON.stringify(message));
    };
    this.socket.onmessage = (event) => {
      const frame = readFrame(event.data);
      const { answers, id } = frame.header;
      if (this.last.get(answers)?.id === id) this.last.delete(answers);
      this.onFrame(frame);
    };
    this.socket.onclose = (event) => {
      const unread = event.code === 1003 || event.code === 1009;
      if (unread) this.last.clear();  // the server could not read it; do not repeat it
      this.onState(false, unread ? event.reason || "the request is too long; remove some edits" : "");
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(2 * this.wait, 10000);
    };
  }

  ask(kind, message) {
    const request = { ask: kind, id: ++this.id, ...message };
    this.last.set(kind, request);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request));
    return request.id;
  }
}
