// The layers of a decoder, or an encoder, for one example at a time. A tensor is {shape, data}: channels come last.
"use strict";

const NETWORK = (() => {
  const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  // Abramowitz and Stegun 7.1.26 is good to 1.5e-7, as float32 is.
  const erf = (x) => {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return Math.sign(x) * (1 - p * Math.exp(-x * x));
  };
  const ACTIVATIONS = {
    linear: (x) => x,
    relu: (x) => (x > 0 ? x : 0),
    relu6: (x) => Math.min(Math.max(x, 0), 6),
    leaky_relu: (x) => (x > 0 ? x : 0.2 * x),
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    selu: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
    gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
    silu: (x) => x * sigmoid(x),
    mish: (x) => x * Math.tanh(softplus(x)),
    tanh: Math.tanh,
    sigmoid,
    hard_sigmoid: (x) => Math.min(Math.max(x / 6 + 0.5, 0), 1),
    softplus,
    softsign: (x) => x / (1 + Math.abs(x)),
    exponential: Math.exp,
  };

  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  const tensor = (shape, data) => ({ shape, data: data || new Float32Array(size(shape)) });
  const activate = (x, name) => (name === "linear" ? x : tensor(x.shape, x.data.map(ACTIVATIONS[name])));

  // Images have two axes of places. A series has one, and is an image of height 1.
  const asImage = (x) => (x.shape.length === 2 ? tensor([1, ...x.shape], x.data) : x);
  const pair = (values, fill) => (values.length === 1 ? [fill, values[0]] : values);
  const back = (y, x) => (x.shape.length === 2 ? tensor(y.shape.slice(1), y.data) : y);

  function withBias(y, bias) {
    if (!bias) return y;
    const n = bias.length;
    for (let i = 0; i < y.data.length; i += n) for (let c = 0; c < n; c++) y.data[i + c] += bias[c];
    return y;
  }

  const LAYERS = {
    dense(x, op) {
      const [n, m] = op.kernel.shape, k = op.kernel.data, y = tensor([...x.shape.slice(0, -1), m]);
      for (let row = 0; row * n < x.data.length; row++)
        for (let i = 0; i < n; i++) {
          const v = x.data[row * n + i];
          if (v !== 0) for (let o = 0, at = i * m, to = row * m; o < m; o++) y.data[to + o] += v * k[at + o];
        }
      return activate(withBias(y, op.bias && op.bias.data), op.activation);
    },

    convolution(image, op) {
      const x = asImage(image), [h, w, n] = x.shape, [kh, kw] = pair(op.kernel.shape.slice(0, -2), 1);
      const [sh, sw] = pair(op.strides, 1), m = op.kernel.shape[op.kernel.shape.length - 1], k = op.kernel.data;
      const same = op.padding === "same";
      const H = same ? Math.ceil(h / sh) : Math.ceil((h - kh + 1) / sh);
      const W = same ? Math.ceil(w / sw) : Math.ceil((w - kw + 1) / sw);
      const top = same ? Math.max((H - 1) * sh + kh - h, 0) >> 1 : 0;
      const left = same ? Math.max((W - 1) * sw + kw - w, 0) >> 1 : 0;
      const y = tensor([H, W, m]), out = y.data;
      for (let r = 0; r < H; r++) for (let c = 0; c < W; c++) {
        const to = (r * W + c) * m;
        for (let i = 0; i < kh; i++) {
          const row = r * sh + i - top;
          if (row < 0 || row >= h) continue;
          for (let j = 0; j < kw; j++) {
            const column = c * sw + j - left;
            if (column < 0 || column >= w) continue;
            const from = (row * w + column) * n, taps = (i * kw + j) * n * m;
            for (let f = 0; f < n; f++) {
              const v = x.data[from + f], at = taps + f * m;
              if (v !== 0) for (let o = 0; o < m; o++) out[to + o] += v * k[at + o];
            }
          }
        }
      }
      return back(activate(withBias(y, op.bias && op.bias.data), op.activation), image);
    },

    transposed(image, op) {
      // The kernel is [places, out, in]; what Keras calls same leaves `stride` values for each one.
      const x = asImage(image), [h, w, n] = x.shape, [kh, kw] = pair(op.kernel.shape.slice(0, -2), 1);
      const [sh, sw] = pair(op.strides, 1), m = op.kernel.shape[op.kernel.shape.length - 2], k = op.kernel.data;
      const same = op.padding === "same";
      const H = h * sh + (same ? 0 : Math.max(kh - sh, 0)), W = w * sw + (same ? 0 : Math.max(kw - sw, 0));
      const top = same ? Math.max(kh - sh, 0) >> 1 : 0, left = same ? Math.max(kw - sw, 0) >> 1 : 0;
      const y = tensor([H, W, m]), out = y.data;
      for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) {
        const from = (r * w + c) * n;
        for (let i = 0; i < kh; i++) {
          const row = r * sh + i - top;
          if (row < 0 || row >= H) continue;
          for (let j = 0; j < kw; j++) {
            const column = c * sw + j - left;
            if (column < 0 || column >= W) continue;
            const to = (row * W + column) * m, taps = (i * kw + j) * m * n;
            for (let o = 0; o < m; o++) {
              let sum = 0;
              for (let f = 0, at = taps + o * n; f < n; f++) sum += x.data[from + f] * k[at + f];
              out[to + o] += sum;
            }
          }
        }
      }
      return back(activate(withBias(y, op.bias && op.bias.data), op.activation), image);
    },

    affine(x, op) {
      const n = op.scale.data.length;
      return tensor(x.shape, x.data.map((v, i) => v * op.scale.data[i % n] + op.shift.data[i % n]));
    },

    layer_norm(x, op) {
      const n = x.shape[x.shape.length - 1], y = tensor(x.shape);
      for (let i = 0; i < x.data.length; i += n) {
        const row = x.data.subarray(i, i + n), mean = row.reduce((a, b) => a + b, 0) / n;
        const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / n, by = 1 / Math.sqrt(variance + op.epsilon);
        for (let c = 0; c < n; c++) y.data[i + c] = (row[c] - mean) * by * op.scale.data[c] + op.shift.data[c];
      }
      return y;
    },

    activation: (x, op) => activate(x, op.activation),

    reshape(x, op) {
      const known = op.shape.reduce((a, b) => (b < 0 ? a : a * b), 1);
      return tensor(op.shape.map((n) => (n < 0 ? x.data.length / known : n)), x.data);
    },

    flatten: (x) => tensor([x.data.length], x.data),

    crop(image, op) {
      const x = asImage(image), [h, w, n] = x.shape;
      const [[top, bottom], [left, right]] = pair(op.crop, [0, 0]);
      const y = tensor([h - top - bottom, w - left - right, n]), [H, W] = y.shape;
      for (let r = 0; r < H; r++)
        y.data.set(x.data.subarray(((r + top) * w + left) * n, ((r + top) * w + left + W) * n), r * W * n);
      return back(y, image);
    },

    enlarge(image, op) {
      const x = asImage(image), [h, w, n] = x.shape, [sh, sw] = pair(op.size, 1), y = tensor([h * sh, w * sw, n]);
      for (let r = 0; r < h * sh; r++) for (let c = 0; c < w * sw; c++) {
        const from = (Math.floor(r / sh) * w + Math.floor(c / sw)) * n;
        y.data.set(x.data.subarray(from, from + n), (r * w * sw + c) * n);
      }
      return back(y, image);
    },

    // Features of the condition, a vector, beside the channels of each place.
    join(x, op, given) {
      const n = x.shape[x.shape.length - 1], m = given.length, y = tensor([...x.shape.slice(0, -1), n + m]);
      for (let i = 0, o = 0; i < x.data.length; i += n, o += n + m) {
        y.data.set(x.data.subarray(i, i + n), o);
        y.data.set(given, o + n);
      }
      return y;
    },

    branches(x, op, given) {
      const [first, second] = op.branches.map((steps) => run(steps, x, given));
      const join = op.join === "add" ? (v, i) => v + second.data[i] : (v, i) => v * second.data[i];
      return tensor(first.shape, first.data.map(join));
    },
  };

  function run(steps, x, given) {
    return steps.reduce((value, op) => LAYERS[op.layer](value, op, given), x);
  }

  const hinge = (x) => 0.5 * (x + Math.abs(x)) + 0.1 * Math.log1p(Math.exp(-Math.abs(x) / 0.1));
  function boundedExp(x, lowest, highest) {
    const low = Math.log(lowest), high = Math.log(highest), width = high - low;
    const shrinkage = width / (width + 0.1 * Math.log1p(Math.exp(-width / 0.1)));
    return Math.exp(high - shrinkage * hinge(width - hinge(x - low)));
  }

  // The means of p(x|z) from its parameters, whose last axis holds all locations first.
  const MEANS = {
    linear: (loc) => loc,
    sigmoid: (logit) => sigmoid(logit),
    continuous_bernoulli(logit) {
      // 1 / (1 - exp(-l)) - 1 / l, and near zero its series.
      return Math.abs(logit) < 0.05 ? 0.5 + logit / 12 - logit ** 3 / 720 : 1 / -Math.expm1(-logit) - 1 / logit;
    },
    logistic(loc, logScale, rule) {
      const top = rule.levels - 1;
      const scale = boundedExp(logScale + Math.log(rule.initial), 1 / (32 * top), 10);
      if (top < 32) {
        let sum = 0;
        for (let k = 0; k < top; k++) sum += sigmoid((loc - (k + 0.5) / top) / scale);
        return sum / top;
      }
      const clip = (x) => Math.min(Math.max(x, 0), 1);
      const tail = (x) => Math.log1p(Math.exp(-Math.abs(x) / scale));
      return clip(clip(loc) + scale * (tail(loc) - tail(loc - 1)));
    },
  };

  function mean(params, rule) {
    const all = params.shape[params.shape.length - 1], n = all / rule.shares;
    const y = tensor([...params.shape.slice(0, -1), n]), make = MEANS[rule.name];
    for (let i = 0, o = 0; i < params.data.length; i += all, o += n)
      for (let c = 0; c < n; c++) y.data[o + c] = make(params.data[i + c], params.data[i + c + n], rule);
    return y;
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, e = (bits >> 10) & 31, f = bits & 1023;
    return e === 0 ? sign * f * 2 ** -24 : e === 31 ? (f ? NaN : sign * Infinity) : sign * (1 + f / 1024) * 2 ** (e - 15);
  }

  function bytes(text) {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found.buffer;
  }

  // Arrays in the place of what says where they lie: {at, shape, type}, of int8 with a scale for each last index.
  function unpack(value, buffer) {
    if (Array.isArray(value)) return value.map((each) => unpack(each, buffer));
    if (value === null || typeof value !== "object") return value;
    if (value.type === undefined) {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpack(each, buffer)]));
    }
    const n = size(value.shape);
    if (value.type === "float32") return tensor(value.shape, new Float32Array(buffer, value.at, n));
    if (value.type === "float16") {
      return tensor(value.shape, Float32Array.from(new Uint16Array(buffer, value.at, n), half));
    }
    if (value.type === "uint8") {
      return tensor(value.shape, Float32Array.from(new Uint8Array(buffer, value.at, n), (v) => v / 255));
    }
    const scale = unpack(value.scale, buffer).data;
    return tensor(value.shape, Float32Array.from(new Int8Array(buffer, value.at, n), (v, i) => v * scale[i % scale.length]));
  }

  function text(values) {
    const raw = new Uint8Array(Float32Array.from(values).buffer);
    let found = "";
    for (let i = 0; i < raw.length; i++) found += String.fromCharCode(raw[i]);
    return btoa(found);
  }

  return { run, mean, unpack, bytes, text, tensor };
})();
