// Runs in the browser's audio threads.

const LENGTH = 16000 * 20; // sound comes at most a few seconds before it is played

// Plays the stream: sample n of it where the playhead is n. What never came is silence.
class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Float32Array(LENGTH);
    this.head = 0;
    this.end = 0; // after the last sample that came
    this.running = false;
    this.since = 0;
    this.port.onmessage = ({ data }) => this.take(data);
  }
  take(message) {
    if (message.kind === "start") {
      this.ring.fill(0);
      this.head = this.end = message.position;
      this.running = true;
    } else if (message.kind === "cut") { // an interruption: what was to come is void
      const first = Math.max(message.sample, this.head);
      for (let n = first; n < this.end; n++) this.ring[n % LENGTH] = 0;
      this.end = Math.min(this.end, first);
    } else if (message.kind === "sound") {
      const from = Math.max(0, this.head - message.sample);
      const end = Math.min(message.samples.length, this.head + LENGTH - message.sample);
      for (let n = from; n < end; n++) this.ring[(message.sample + n) % LENGTH] = message.samples[n];
      this.end = Math.max(this.end, message.sample + end);
    }
  }
  process(inputs, outputs) {
    const out = outputs[0][0];
    if (this.running) {
      for (let n = 0; n < out.length; n++) {
        const place = this.head % LENGTH;
        out[n] = this.ring[place];
        this.ring[place] = 0;
        this.head++;
      }
    }
    if (++this.since >= 5) { // every 40 ms
      this.since = 0;
      this.port.postMessage(this.head);
    }
    return true;
  }
}

// Takes the microphone up in 20-ms pieces of PCM16.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate / 50));
    this.filled = 0;
  }
  process(inputs) {
    const samples = inputs[0][0];
    if (!samples) return true;
    for (const sample of samples) {
      this.piece[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === this.piece.length) {
        this.port.postMessage(this.piece.slice().buffer);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("player", Player);
registerProcessor("microphone", Microphone);
