// The avatar's voice in the browser. The picture follows this sound: it reports where it is now and then, ahead by as
// much as pictures take to arrive, and the server renders what will be heard then.
//
// CLOCK_ID and FPS are filled in by playback.py. viser evaluates this inside a module of its own, where a bare `Audio`
// is three.js's.
(() => {
  if (window.aedSound) window.aedSound.remove();
  const audio = document.createElement("audio");
  audio.dataset.aed = "speech";
  document.body.appendChild(audio);

  // ---- the clock, told through a number input, the only way from here to the server that viser has

  let lead = 0.15; // seconds, from a frame's choice to the middle of its time on the screen
  let told = { at: 0, place: 0 }; // what the server was told last, and when (seconds of this page)
  let touchedAt = 0;
  const seconds = () => performance.now() / 1000;
  const touched = (event) => { if (event.type !== "pointermove" || event.buttons) touchedAt = seconds(); };
  const TOUCHES = ["pointerdown", "pointermove", "pointerup", "keydown"];
  for (const kind of TOUCHES) document.addEventListener(kind, touched, true);

  // A difference of two places in the sound, of which the shorter way counts where it is played again and again.
  const between = (a, b) => {
    const whole = audio.duration;
    return audio.loop && whole ? a - b - whole * Math.round((a - b) / whole) : a - b;
  };

  const setValue = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  function report() {
    const input = document.getElementById("CLOCK_ID");
    if (!input) return;
    if (late.length) lead = Math.min(Math.max(median(late, 0) + median(late, 1) / 2, 0), 1.5);
    told = { at: seconds(), place: audio.currentTime + lead };
    setValue.call(input, told.place.toFixed(3));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // viser sends one message in 50 ms and of several the last: a report must not swallow what the user just did. Hence
  // few reports, none just after a touch, and one out of turn only where the sound was held up.
  const timer = setInterval(() => {
    const now = seconds();
    if (audio.paused || now - touchedAt < 0.15) return;
    const drift = between(told.place - lead + now - told.at, audio.currentTime);
    if (now - told.at > 0.5 || (now - told.at > 0.15 && Math.abs(drift) > 0.04)) report();
  }, 50);
  audio.addEventListener("playing", report);

  // ---- how late pictures are: viser loads each from an object URL, which it revokes when it is on the screen

  let expected = null; // the frame of the next picture
  let shownAt = null;
  let late = []; // of the last pictures: [seconds from choice to screen, seconds since the one before]
  const median = (rows, column) => rows.map((row) => row[column]).sort((a, b) => a - b)[rows.length >> 1];
  const frames = new Map();
  const create = URL.createObjectURL;
  const revoke = URL.revokeObjectURL;
  URL.createObjectURL = (object) => {
    const url = create.call(URL, object);
    if (expected !== null && object instanceof Blob && object.type.startsWith("image/")) {
      frames.set(url, expected);
      expected = null;
    }
    return url;
  };
  URL.revokeObjectURL = (url) => {
    if (frames.has(url)) shown(frames.get(url));
    frames.delete(url);
    return revoke.call(URL, url);
  };

  function shown(frame) {
    const now = seconds();
    const middle = (frame + 0.5) / FPS;
    api.log.push({ time: audio.currentTime, frame, behind: between(audio.currentTime, middle), playing: !audio.paused });
    if (api.log.length > 4000) api.log.shift();
    // By the server's clock, which ran on from what it was told: a sound that is held up does not count as lateness.
    const taken = between(told.place + now - told.at, middle);
    if (!audio.paused && shownAt !== null) late = [...late.slice(-11), [taken, Math.min(now - shownAt, 0.5)]];
    shownAt = now;
  }

  const api = {
    audio,
    log: [],
    load(base64) {
      if (audio.src) revoke.call(URL, audio.src);
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      audio.src = create.call(URL, new Blob([bytes], { type: "audio/wav" }));
    },
    play(time, loop) {
      audio.loop = loop;
      audio.currentTime = time;
      late = [];
      audio.play().catch((error) => console.warn("aed: the browser did not let the sound play:", error));
    },
    pause() { audio.pause(); },
    loop(loop) { audio.loop = loop; },
    expect(frame) { expected = frame; },
    remove() {
      clearInterval(timer);
      for (const kind of TOUCHES) document.removeEventListener(kind, touched, true);
      URL.createObjectURL = create;
      URL.revokeObjectURL = revoke;
      audio.pause();
      audio.remove();
      delete window.aedSound;
    },
  };
  window.aedSound = api;
})();
