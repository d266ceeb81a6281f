// The page of a live avatar. The audio clock is the master: a picture is shown when the playhead comes to its stamp.

const RATE = 16000;
const SOUND = 1, PICTURE = 2;
const LATE = 0.12; // seconds after which a picture is no longer shown
const KEPT = 75; // pictures that wait to be shown, at most: a page in the background shows none
const query = new URLSearchParams(location.search);
const token = query.get("token");
const id = (name) => document.getElementById(name);
const canvas = id("picture"), paper = canvas.getContext("2d");

let socket = null, epoch = 0, pictures = [], context = null, player = null, microphone = null;
let stream = { base: 0, at: 0 }; // the playhead in samples, and when that was, in ms
let shown = 0, late = 0, sounds = 0, spans = {};
let answered = -Infinity; // when the server last answered the record button, in ms; Infinity while it is asked
export const log = []; // what was shown: [stamp, playhead], for measurements
globalThis.live = { log, state: () => ({ shown, late, sounds, epoch, playhead: playhead(), audio: context?.state }) };

document.body.classList.toggle("bare", query.get("bare") === "1");

const pressed = (name, on) => id(name).setAttribute("aria-pressed", String(on));
const notice = (text) => { id("notice").textContent = text; };
const send = (message) => { if (socket?.readyState === 1) socket.send(JSON.stringify(message)); };
const withToken = (path) => (token ? `${path}?token=${encodeURIComponent(token)}` : path);
const playhead = () => stream.base + (performance.now() - stream.at) / 1000 * RATE;

// ---- sound

async function hear() {
  if (player && context.state === "running") return;
  try {
    context ??= new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await context.audioWorklet.addModule("worklets.js");
    if (!player) {
      player = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
      player.port.onmessage = ({ data }) => {
        if (context.state !== "running") return;
        const heard = data - (context.outputLatency || context.baseLatency || 0) * RATE;
        stream = { base: heard, at: performance.now() };
      };
      player.connect(context.destination);
    }
    await context.resume();
    player.port.postMessage({ kind: "start", position: Math.max(0, Math.round(playhead())) });
    id("hear").hidden = true;
  } catch (error) {
    notice(`No sound: ${error.message}`);
  }
}

function takeSound(sample, bytes) {
  const whole = new Int16Array(bytes), samples = new Float32Array(whole.length);
  for (let n = 0; n < whole.length; n++) samples[n] = whole[n] / 32767;
  sounds++;
  player?.port.postMessage({ kind: "sound", sample, samples }, [samples.buffer]);
}

// ---- pictures

async function takePicture(own, sample, bytes) {
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  if (own < epoch) return bitmap.close();
  pictures.push({ sample, bitmap });
  while (pictures.length > KEPT) pictures.shift().bitmap.close();
}

function draw() {
  const now = playhead();
  pictures.sort((a, b) => a.sample - b.sample);
  let due = null;
  while (pictures.length && pictures[0].sample <= now) {
    due?.bitmap.close();
    due = pictures.shift();
  }
  if (due && now - due.sample > LATE * RATE) {
    late++;
    if (shown) { due.bitmap.close(); due = null; }
  }
  if (due) {
    if (canvas.width !== due.bitmap.width) { canvas.width = due.bitmap.width; canvas.height = due.bitmap.height; }
    paper.drawImage(due.bitmap, 0, 0);
    due.bitmap.close();
    shown++;
    log.push([due.sample, Math.round(now)]);
    if (log.length > 2000) log.shift();
  }
  requestAnimationFrame(draw);
}

// ---- the connection

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(withToken(`${scheme}://${location.host}/ws`));
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? told(JSON.parse(data)) : taken(data));
  socket.onclose = ({ code }) => {
    if (code !== 1013) notice("The connection is lost; trying again.");
    hang();
    setTimeout(connect, code === 1013 ? 3000 : 1000);
  };
}

function taken(data) {
  const view = new DataView(data);
  const kind = view.getUint8(0), own = view.getUint32(4, true), sample = Number(view.getBigInt64(8, true));
  if (own < epoch) return; // an interruption came between
  if (kind === SOUND) takeSound(sample, data.slice(16));
  if (kind === PICTURE) takePicture(own, sample, data.slice(16));
}

function told(message) {
  const { type } = message;
  if (type === "hello") greet(message);
  else if (type === "status") figures(message);
  else if (type === "epoch") {
    epoch = message.epoch;
    pictures = pictures.filter((p) => p.sample < message.sample || p.bitmap.close());
    player?.port.postMessage({ kind: "cut", sample: message.sample });
  } else if (type === "error") notice(message.error);
  else if (type === "interrupted") notice("Interrupted.");
  else if (type === "started") notice("Speaking.");
  else if (type === "finished") notice("");
}

function greet(hello) {
  notice("");
  spans = hello.emotions;
  epoch = hello.epoch;
  pictures.forEach((p) => p.bitmap.close());
  pictures = [];
  stream = { base: hello.position, at: performance.now() };
  player?.port.postMessage({ kind: "start", position: hello.position });
  const fill = (element, values, chosen) => element.replaceChildren(...values.map((v) => new Option(v, v, v === chosen, v === chosen)));
  const names = Object.keys(hello.emotions);
  fill(id("emotion"), names, names.includes("neutral") ? "neutral" : names[0]);
  fill(id("size"), hello.sizes.includes(hello.size) ? hello.sizes : [...hello.sizes, hello.size], hello.size);
  id("text").disabled = id("say").disabled = !hello.text;
  if (!hello.text) id("text").placeholder = "The server was started without --voice or --tts-command";
}

function figures(status) {
  const fps = status.fps.toFixed(1);
  // A recording ends with the connection. Figures that come around an answer to the button may be older than it.
  if (performance.now() - answered > 1500) pressed("record", status.recording);
  id("figures").textContent = `${fps} fps · latency ${status.latency_ms} ms · left out ${status.left_out} · late ${late} · ${status.size} px`;
}

setInterval(() => {
  send({ type: "clock", position: Math.max(0, Math.round(playhead())) });
}, 200);

// ---- controls

id("hear").onclick = hear;
id("controls").onsubmit = (event) => {
  event.preventDefault();
  hear();
  send({ type: "say", text: id("text").value });
};
id("stop").onclick = () => send({ type: "stop" });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") send({ type: "stop" }); });
const feel = () => {
  const emotion = id("emotion").value, span = spans[emotion] ?? [0, 1];
  const intensity = Math.min(Math.max(Number(id("intensity").value), span[0]), span[1]);
  send({ type: "emotion", emotion, intensity });
};
id("emotion").onchange = id("intensity").oninput = feel;
id("background").onchange = () => send({ type: "show", background: id("background").value });
id("size").onchange = () => send({ type: "show", size: Number(id("size").value) });

function hang() {
  microphone?.stop();
  microphone = null;
  pressed("mic", false);
}

id("mic").onclick = async () => {
  if (microphone) {
    hang();
    return send({ type: "mic", on: false });
  }
  try {
    const media = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    const own = new AudioContext();
    await own.audioWorklet.addModule("worklets.js");
    const node = new AudioWorkletNode(own, "microphone", { numberOfOutputs: 0 });
    own.createMediaStreamSource(media).connect(node);
    send({ type: "mic", on: true, rate: own.sampleRate });
    node.port.onmessage = ({ data }) => { if (socket?.readyState === 1) socket.send(data); };
    microphone = { stop: () => { media.getTracks().forEach((t) => t.stop()); own.close(); } };
    pressed("mic", true);
    hear();
  } catch (error) {
    notice(`No microphone: ${error.message}`);
  }
};

id("record").onclick = async () => {
  const stop = id("record").getAttribute("aria-pressed") === "true";
  pressed("record", !stop);
  answered = Infinity;
  let answer;
  try {
    answer = await fetch(withToken("recording"), { method: "POST", body: JSON.stringify({ stop }) });
  } catch (error) {
    pressed("record", false);
    return notice(`No answer: ${error.message}`);
  } finally {
    answered = performance.now();
  }
  if (!answer.ok) {
    pressed("record", false);
    return notice((await answer.json()).error);
  }
  if (!stop) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "aed-live.mp4";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

if (query.get("bare") === "1") hear();
connect();
draw();
