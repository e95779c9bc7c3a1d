// What can be seen and touched. The numbers come from NETWORK.
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const raw = JSON.parse($("data").textContent);
  const buffer = NETWORK.bytes(raw.weights);
  const model = NETWORK.unpack({ ...raw.model, priors: null }, buffer);
  model.priors = NETWORK.unpack(raw.model.priors, NETWORK.bytes(raw.draws));
  const { decoder, encoder, condition, examples } = model;
  const [height, width, channels] = model.shape, L = model.worth.length;
  const order = model.worth.map((_, k) => k).sort((a, b) => model.worth[b] - model.worth[a]);
  const best = Math.max(...model.worth, 1e-9);
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const fixed = (x) => (x < 0 ? "\u2212" : "") + Math.abs(x).toFixed(2);
  const name = (k) => `z${String(k).replace(/\d/g, (d) => "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089"[d])}`;

  // One hot, or the numbers themselves.
  const featuresOf = (value) => {
    if (!condition) return null;
    if (condition.kind !== "label") return Float32Array.from([].concat(value));
    const hot = new Float32Array(condition.size);
    hot[value] = 1;
    return hot;
  };
  const decode = (z, given) => {
    const y = NETWORK.run(decoder.steps, NETWORK.tensor([L], Float32Array.from(z)), decoder.conditioned ? given : null);
    return NETWORK.mean(y, decoder.mean).data;
  };
  const encode = (x, given) =>
    NETWORK.run(encoder.steps, NETWORK.tensor(model.shape, x), encoder.conditioned ? given : null).data.slice(0, L);

  if (location.hash === "#check") {
    const rows = (t) => Array.from({ length: t.shape[0] }, (_, k) => t.data.subarray(k * t.data.length / t.shape[0], (k + 1) * t.data.length / t.shape[0]));
    const given = model.checks.given ? rows(model.checks.given) : null, all = (parts) => NETWORK.text(parts.flatMap((p) => [...p]));
    const decoded = rows(model.checks.z).map((z, k) => decode(z, given && given[k]));
    const encoded = encoder && rows(model.checks.x).map((x, k) => encode(x, given && given[k]));
    $("checked").textContent = JSON.stringify({ decoded: all(decoded), encoded: encoded ? all(encoded) : null });
  }

  // Pictures.
  function paint(canvas, x, left = 0, top = 0) {
    const pixels = new ImageData(width, height), gray = channels === 1;
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = 255 * clamp(x[gray ? i : 3 * i + c], 0, 1) + 0.5;
      pixels.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, left, top);
  }
  function tile(x) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.className = "sharp picture";
    paint(canvas, x);
    return canvas;
  }
  const picture = $("picture");
  function fit(canvas, columns, rows, most) {
    canvas.width = columns;
    canvas.height = rows;
    canvas.style.width = `${Math.round(most * Math.min(1, columns / rows))}px`;
    canvas.style.aspectRatio = `${columns} / ${rows}`;
    canvas.style.maxHeight = "none";
  }

  // State, and the way back.
  let state = { z: new Float32Array(L), given: null };
  if (condition) state.given = condition.kind === "label" ? 0 : condition.low.map((low, k) => (low + condition.high[k]) / 2);
  const past = [];
  let seen = null, moving = 0, marks = [];
  const copy = (s) => ({ z: s.z.slice(), given: Array.isArray(s.given) ? [...s.given] : s.given });
  const remember = () => {
    past.push(copy(state));
    if (past.length > 200) past.shift();
    $("undo").disabled = false;
  };
  const say = (text) => ($("said").textContent = text);
  const prior = () => model.priors[model.priors.length > 1 ? state.given : 0];
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  function draw(temperature) {
    const p = prior();
    if (p.kind === "draws") {
      const k = Math.floor(Math.random() * p.draws.shape[0]);
      return p.draws.data.slice(k * L, (k + 1) * L);
    }
    let u = Math.random(), m = 0;
    while (m < p.probs.length - 1 && (u -= p.probs[m]) > 0) m++;
    return Float32Array.from({ length: L }, (_, k) => p.loc.data[m * L + k] + temperature * p.scale.data[m * L + k] * normal());
  }

  function stop() {
    cancelAnimationFrame(moving);
    moving = 0;
  }

  // Sliders.
  const sliders = new Map();
  const few = Math.max(1, Math.min(16, order.filter((k) => model.worth[k] > 0.01 * best && model.worth[k] > 1e-3).length));
  order.forEach((k, rank) => {
    const row = document.createElement("div");
    row.className = "latent";
    row.hidden = rank >= few;
    const label = document.createElement("label"), input = document.createElement("input");
    const output = document.createElement("output"), worth = document.createElement("div"), bar = document.createElement("i");
    const amount = document.createElement("small");
    label.htmlFor = input.id = `z-${k}`;
    label.textContent = name(k);
    Object.assign(input, { type: "range", min: model.low[k], max: model.high[k], step: "any" });
    input.setAttribute("aria-label", `Latent ${k}`);
    output.htmlFor = input.id;
    worth.className = "worth";
    bar.style.width = `${100 * Math.min(1, model.worth[k] / best)}%`;
    worth.append(bar);
    amount.textContent = model.worth[k].toFixed(2);
    row.append(label, input, output, worth, amount);
    let held = false;
    const begin = () => {
      if (!held) remember();
      held = true;
    };
    input.addEventListener("pointerdown", begin);
    input.addEventListener("keydown", (event) => {
      // Without steps an arrow would move by hardly anything in some browsers.
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!by) return;
      event.preventDefault();
      begin();
      stop();
      state.z[k] = clamp(state.z[k] + (by * (model.high[k] - model.low[k])) / 50, model.low[k], model.high[k]);
      changed(`${name(k)} is ${fixed(state.z[k])}`);
    });
    input.addEventListener("change", () => (held = false));
    input.addEventListener("keyup", () => (held = false));
    input.addEventListener("input", () => {
      begin();
      stop();
      state.z[k] = Number(input.value);
      changed(`${name(k)} is ${fixed(state.z[k])}`);
    });
    sliders.set(k, { input, output, row });
    $("sliders").append(row);
  });
  $("latents-note").textContent = `Ordered by what they carry: ${model.unit === "nats" ? `KL to ${model.priors[0].kind === "mixture" && model.priors[0].probs.length === 1 ? "the prior" : "a Gaussian as wide as the prior"} in nats, below each value` : "the variance of their means"}. Sliders span 99% of the prior.`;
  if (few < L) {
    const button = $("all");
    const title = (open) => (button.textContent = open ? "Show fewer" : `Show all ${L} latents`);
    let open = false;
    title(open);
    button.hidden = false;
    button.addEventListener("click", () => {
      open = !open;
      order.forEach((k, rank) => (sliders.get(k).row.hidden = !open && rank >= few));
      title(open);
    });
  }

  // The plane of two latents through the point: tiles, drawn in slices so that nothing waits for them.
  const plane = $("plane"), axes = { across: order[0], up: order[1 % L] };
  const across = $("across"), up = $("up");
  const side = Math.max(height, width);
  let tiles = clamp(Math.floor(300 / side), 7, 13), job = 0, drawn = null;
  const started = performance.now();
  let first = decode(state.z, featuresOf(state.given));
  for (let k = 0; k < 2; k++) first = decode(state.z, featuresOf(state.given));
  const cost = (performance.now() - started) / 3;
  if (cost * tiles * tiles > 2500) tiles = clamp(Math.floor(Math.sqrt(2500 / cost)), 5, tiles);
  const rows = L > 1 ? tiles : 1, map = document.createElement("canvas");
  const gap = Math.max(1, Math.round(side / 16));
  map.width = tiles * (width + gap) - gap;
  map.height = rows * (height + gap) - gap;
  const at = (k, share) => model.low[k] + share * (model.high[k] - model.low[k]);
  const shareOf = (k) => (state.z[k] - model.low[k]) / (model.high[k] - model.low[k]);
  for (const [axis, select] of [["across", across], ["up", up]]) {
    for (const k of order) select.add(new Option(`${name(k)} (${model.worth[k].toFixed(2)})`, k));
    select.value = axes[axis];
    select.addEventListener("change", () => {
      const other = axis === "across" ? "up" : "across", before = axes[axis];
      axes[axis] = Number(select.value);
      if (axes[axis] === axes[other]) axes[other] = before;
      across.value = axes.across;
      up.value = axes.up;
      redraw();
    });
  }
  if (L <= 2) $("axes").hidden = true;
  $("plane-name").textContent = L === 2 ? "The manifold" : "A plane through z";
  $("plane-note").textContent = L === 2
    ? "Each tile is the decoder\u2019s picture of that point. Drag, or use the arrow keys. Dots are test pictures."
    : "All other latents stay where they are. Drag, or use the arrow keys.";

  function planeKey() {
    return JSON.stringify([axes.across, axes.up, state.given, Array.from(state.z, (v, k) => (k === axes.across || k === axes.up ? 0 : Math.fround(v)))]);
  }
  function redraw() {
    clearTimeout(job);
    const key = planeKey();
    if (key === drawn) return overlay();
    const z = state.z.slice(), given = featuresOf(state.given);
    let next = 0;
    // From coarse to fine would flicker: row by row, a slice at a time.
    const slice = () => {
      const until = performance.now() + 14;
      do {
        const column = next % tiles, row = Math.floor(next / tiles);
        z[axes.across] = at(axes.across, (column + 0.5) / tiles);
        if (L > 1) z[axes.up] = at(axes.up, 1 - (row + 0.5) / rows);
        paint(map, decode(z, given), column * (width + gap), row * (height + gap));
        next++;
      } while (next < tiles * rows && performance.now() < until);
      if (next < tiles * rows) job = setTimeout(slice, 0);
      else drawn = key;
      overlay();
    };
    job = setTimeout(slice, 0);
  }
  function overlay() {
    const context = plane.getContext("2d"), style = getComputedStyle(document.documentElement);
    const sharpness = plane.width / map.width;
    context.imageSmoothingEnabled = $("smooth").checked || sharpness < 1;
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, plane.width, plane.height);
    context.drawImage(map, 0, 0, plane.width, plane.height);
    const unit = plane.width / 360;
    if (L === 2) {
      context.fillStyle = style.getPropertyValue("--mark");
      context.strokeStyle = "#0008";
      context.lineWidth = 0.75 * unit;
      marks.forEach(([a, b]) => {
        context.beginPath();
        context.arc(a * plane.width, (1 - b) * plane.height, 2.6 * unit, 0, 7);
        context.fill();
        context.stroke();
      });
    }
    const x = clamp(shareOf(axes.across), 0, 1) * plane.width;
    const y = L > 1 ? (1 - clamp(shareOf(axes.up), 0, 1)) * plane.height : plane.height / 2;
    for (const [color, thickness] of [["#000b", 5], ["#fff", 2.2]]) {
      context.strokeStyle = color;
      context.lineWidth = thickness * unit;
      context.beginPath();
      context.arc(x, y, 9 * unit, 0, 7);
      context.stroke();
    }
  }
  function moveTo(a, b) {
    stop();
    state.z[axes.across] = at(axes.across, clamp(a, 0, 1));
    if (L > 1) state.z[axes.up] = at(axes.up, clamp(b, 0, 1));
    changed(L > 1 ? `${name(axes.across)} ${fixed(state.z[axes.across])}, ${name(axes.up)} ${fixed(state.z[axes.up])}` : `${name(0)} ${fixed(state.z[0])}`);
  }
  const follow = (event) => {
    const box = plane.getBoundingClientRect();
    moveTo((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height);
  };
  plane.addEventListener("pointerdown", (event) => {
    remember();
    plane.setPointerCapture(event.pointerId);
    follow(event);
  });
  plane.addEventListener("pointermove", (event) => event.buttons && follow(event));
  plane.addEventListener("keydown", (event) => {
    const [a, b] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key] || [0, 0];
    if (!a && !b) return;
    event.preventDefault();
    if (!event.repeat) remember();
    moveTo(shareOf(axes.across) + 0.03 * a, L > 1 ? shareOf(axes.up) + 0.03 * b : 0.5);
  });

  // What follows from the state.
  let queued = 0;
  function changed(text) {
    if (text !== undefined) say(text);
    cancelAnimationFrame(queued);
    queued = requestAnimationFrame(show);
  }
  function show() {
    paint(picture, decode(state.z, featuresOf(state.given)));
    for (const [k, { input, output }] of sliders) {
      input.value = state.z[k];
      output.textContent = fixed(state.z[k]);
      input.setAttribute("aria-valuetext", fixed(state.z[k]));
    }
    if (condition && condition.kind === "label") {
      const chosen = $("condition").querySelector(`input[value="${state.given}"]`);
      if (chosen) chosen.checked = true;
    } else if (condition) {
      $("condition").querySelectorAll("input").forEach((input, k) => {
        input.value = state.given[k];
        input.nextSibling.textContent = fixed(state.given[k]);
      });
    }
    redraw();
  }

  // Buttons.
  const temperature = () => Number($("temperature").value);
  function sample() {
    stop();
    remember();
    state.z = draw(temperature());
    $("way").hidden = true;
    changed("A draw from the prior.");
  }
  function interpolate() {
    stop();
    remember();
    const from = state.z.slice(), to = draw(temperature()), steps = 9, given = featuresOf(state.given);
    const between = (t) => from.map((v, k) => v + t * (to[k] - v));
    const way = $("way");
    way.replaceChildren(...Array.from({ length: steps }, (_, k) => {
      const button = document.createElement("button"), t = k / (steps - 1);
      button.type = "button";
      button.setAttribute("aria-label", `${Math.round(100 * t)}% of the way`);
      button.append(tile(decode(between(t), given)));
      button.addEventListener("click", () => {
        stop();
        remember();
        state.z = between(t);
        changed(`${Math.round(100 * t)}% of the way.`);
      });
      return button;
    }));
    way.hidden = false;
    sharpen();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      state.z = to;
      return changed("From where you were to a draw from the prior.");
    }
    const begun = performance.now();
    const move = () => {
      const t = Math.min(1, (performance.now() - begun) / 1600);
      state.z = between(t * t * (3 - 2 * t));
      changed("From where you were to a draw from the prior.");
      moving = t < 1 ? requestAnimationFrame(move) : 0;
    };
    moving = requestAnimationFrame(move);
  }
  function undo() {
    if (!past.length) return;
    stop();
    state = past.pop();
    $("undo").disabled = !past.length;
    changed(past.length ? "One step back." : "Back at the beginning.");
  }
  function reset() {
    stop();
    remember();
    state.z = Float32Array.from({ length: L }, (_, k) => clamp(0, model.low[k], model.high[k]));
    changed("z is 0, or as near to it as the prior goes.");
  }
  $("sample").addEventListener("click", sample);
  $("interpolate").addEventListener("click", interpolate);
  $("undo").addEventListener("click", undo);
  $("reset").addEventListener("click", reset);
  addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (event.altKey || event.target.closest("select, input[type=text], input[type=file]")) return;
    const act = command ? { z: undo } : { s: sample, i: interpolate, u: undo, 0: reset };
    const found = act[event.key.toLowerCase()];
    if (!found) return;
    event.preventDefault();
    found();
  });
  $("temperature").addEventListener("input", () => ($("temperature-value").textContent = temperature().toFixed(2)));
  if (model.priors.some((p) => p.kind === "draws")) $("temperature-row").hidden = true;
  function sharpen() {
    document.querySelectorAll("canvas").forEach((c) => c !== plane && c.classList.toggle("sharp", !$("smooth").checked));
    overlay();
  }
  $("smooth").addEventListener("change", sharpen);

  // The condition.
  if (condition && (decoder.conditioned || model.priors.length > 1)) {
    const box = $("condition").querySelector("div");
    $("condition").hidden = false;
    for (let k = 0; k < condition.size; k++) {
      const label = document.createElement("label"), input = document.createElement("input");
      const text = document.createElement(condition.kind === "label" ? "span" : "output");
      if (condition.kind === "label") {
        label.className = "choice";
        Object.assign(input, { type: "radio", name: "condition", value: k });
        text.textContent = label.title = condition.names[k];
        label.append(input, text);
      } else {
        label.className = "setting";
        Object.assign(input, { type: "range", min: condition.low[k], max: condition.high[k], step: "any" });
        label.append(`c${k + 1}`, input, text);
      }
      input.addEventListener(condition.kind === "label" ? "change" : "input", () => {
        stop();
        remember();
        if (condition.kind === "label") state.given = k;
        else state.given[k] = Number(input.value);
        changed(condition.kind === "label" ? `Condition: ${condition.names[k]}` : `c${k + 1} is ${fixed(state.given[k])}`);
      });
      box.append(label);
    }
  }

  // Posteriors of pictures.
  const each = height * width * channels;
  const row = (t, k, n) => t.data.slice(k * n, (k + 1) * n);
  function look(x, mean, deviation, given, text) {
    stop();
    remember();
    seen = { x, mean, deviation };
    state.z = mean.slice();
    if (given !== null && given !== undefined) state.given = Array.isArray(given) ? [...given] : given;
    paint($("original"), x);
    paint($("rebuilt"), decode(mean, featuresOf(state.given)));
    $("seen").hidden = false;
    $("draw-posterior").hidden = !deviation;
    changed(text);
  }
  for (let k = 0; k < examples.pictures.shape[0]; k++) {
    const button = document.createElement("button"), x = row(examples.pictures, k, each);
    button.type = "button";
    button.setAttribute("aria-label", `Test picture ${k + 1}`);
    button.setAttribute("aria-pressed", "false");
    button.append(tile(x));
    button.addEventListener("click", () => {
      press(button);
      look(x, row(examples.means, k, L), examples.deviations && row(examples.deviations, k, L), examples.conditions && examples.conditions[k], `z is the posterior mean of test picture ${k + 1}.`);
    });
    $("examples").append(button);
    marks.push([row(examples.means, k, L)[order[0]], row(examples.means, k, L)[order[1 % L]]].map((v, a) => {
      const axis = order[a % L];
      return (v - model.low[axis]) / (model.high[axis] - model.low[axis]);
    }));
  }
  function press(button) {
    $("examples").querySelectorAll("button").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
  }
  $("draw-posterior").addEventListener("click", () => {
    stop();
    remember();
    state.z = seen.mean.map((v, k) => v + temperature() * seen.deviation[k] * normal());
    changed("A draw from the posterior of that picture.");
  });
  $("examples-note").textContent = encoder
    ? "Choose a test picture, draw one, or drop one: z becomes the mean of q(z|x)."
    : "Choose a test picture: z becomes the mean of q(z|x).";

  if (encoder) {
    const pad = $("pad"), ink = document.createElement("canvas");
    // Light on dark, or dark on light, as the pictures are.
    const corner = (k) => [0, width - 1, (height - 1) * width, height * width - 1].reduce((a, p) => a + examples.pictures.data[k * each + p * channels] / 4, 0);
    const count = examples.pictures.shape[0];
    const dark = Array.from({ length: count }, (_, k) => corner(k)).reduce((a, b) => a + b, 0) / count < 0.5;
    fit(pad, 264, Math.round((264 * height) / width), 132);
    ink.width = width;
    ink.height = height;
    $("own").hidden = false;
    const brush = pad.getContext("2d", { willReadFrequently: true });
    const clear = () => {
      brush.fillStyle = dark ? "#000" : "#fff";
      brush.fillRect(0, 0, pad.width, pad.height);
    };
    clear();
    function take(image, text) {
      const context = ink.getContext("2d", { willReadFrequently: true });
      context.imageSmoothingQuality = "high";
      const scale = Math.max(width / image.width, height / image.height);
      const w = image.width * scale, h = image.height * scale;
      context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
      const pixels = context.getImageData(0, 0, width, height).data, x = new Float32Array(each);
      for (let i = 0; i < width * height; i++) {
        const [r, g, b] = pixels.subarray(4 * i, 4 * i + 3);
        if (channels === 1) x[i] = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
        else x.set([r / 255, g / 255, b / 255], 3 * i);
      }
      press(null);
      look(x, encode(x, featuresOf(state.given)), null, state.given, text);
    }
    let last = null;
    const place = (event) => {
      const box = pad.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * pad.width, ((event.clientY - box.top) / box.height) * pad.height];
    };
    const line = (event) => {
      const now = place(event);
      brush.strokeStyle = dark ? "#fff" : "#000";
      brush.lineWidth = 26;
      brush.lineCap = brush.lineJoin = "round";
      brush.beginPath();
      brush.moveTo(...(last || now));
      brush.lineTo(...now);
      brush.stroke();
      last = now;
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      line(event);
    });
    pad.addEventListener("pointermove", (event) => last && line(event));
    pad.addEventListener("pointerup", () => {
      last = null;
      take(pad, "z is the posterior mean of your drawing.");
    });
    pad.addEventListener("pointercancel", () => (last = null));
    $("clear").addEventListener("click", clear);
    const open = async (file) => {
      try {
        take(await createImageBitmap(file), "z is the posterior mean of your picture.");
      } catch {
        say("That file is no picture that this browser can read.");
      }
    };
    $("file").addEventListener("change", (event) => event.target.files[0] && open(event.target.files[0]));
    addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    addEventListener("dragleave", () => document.body.classList.remove("dropping"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
  }

  // The beginning.
  fit(picture, width, height, 384);
  for (const id of ["original", "rebuilt"]) Object.assign($(id), { width, height });
  const density = Math.min(devicePixelRatio || 1, 2);
  fit(plane, map.width, map.height, 384);
  plane.width = Math.round(384 * Math.min(1, map.width / map.height) * density);
  plane.height = Math.round((plane.width * map.height) / map.width);
  $("about").textContent = `${L} latents \u2192 ${height} \u00d7 ${width}${channels === 3 ? " in colour" : ""} \u00b7 a decoder of ${model.parameters.toLocaleString("en")} numbers (${model.precision}) runs in this page`;
  const drawn_by = { mixture: model.priors[0].kind === "mixture" && model.priors[0].probs.length > 1 ? `from the prior, a mixture of ${model.priors[0].probs.length} Gaussians; a temperature scales around the mean of each` : "from the prior, a Gaussian", draws: "among 500 that Python has drawn from the prior" }[model.priors[0].kind];
  $("foot").textContent = `Samples are drawn ${drawn_by}. Pictures are means of p(x|z). This page asks nothing of any network. Made with keras_vae.`;
  // A first picture that is one: z = 0 need not be where a mixture puts anything.
  state.z = L === 2 ? state.z : row(examples.means, 0, L);
  if (L !== 2 && examples.conditions) state.given = examples.conditions[0];
  sharpen();
  show();
  say("Move a slider, drag in the plane, or press Sample.");
})();
