"""One HTML file with a decoder in it, made of a model and some data."""

import base64
import hashlib
import html
import json
import math
from importlib import resources
from typing import Any

import numpy as np

from keras_vae.arguments import check_choice
from keras_vae.explorer import content
from keras_vae.explorer.layers import CannotShow, Step, steps_of
from keras_vae.explorer.weights import PRECISIONS, PackedArrays

# Bytes of a page; an encoder with which it would be larger stays out.
LARGEST_WITH_ENCODER = 1_000_000
SMALL = 1e-4


def make_page(vae: Any, data: Any, title: str = "VAE", precision: str = "float32") -> str:
    """A page that shows what a model has learned: sliders, a plane of z, draws, interpolations, posteriors.

    It needs no server and no network, which its content security policy forbids. The encoder is in it where the page
    stays below a megabyte with it.

    Args:
        vae: a model of gray or colour images with one level of latents.
        data: examples, with conditions if the model has any; see `evaluation`.
        title: of the page.
        precision: of the weights: "float32", "float16" or "int8".

    Raises:
        CannotShow: naming what in the model the page does not know.
        ValueError: for another precision.
    """
    check_choice("precision", precision, PRECISIONS)
    vae.build()
    check(vae)
    seen = content.look_at(vae, data)
    with_encoder = _page(vae, seen, title, precision, encoder=True)
    if with_encoder is not None and len(with_encoder.encode()) <= LARGEST_WITH_ENCODER:
        return with_encoder
    page = _page(vae, seen, title, precision, encoder=False)
    assert page is not None
    return page


def check(vae: Any) -> None:
    """Refuse a model that is not shown.

    Raises:
        CannotShow: naming what the page does not know.
    """
    shape, posterior, decoder = tuple(vae.decoder.event_shape), vae.encoder.posterior, vae.decoder
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise CannotShow(f"The page shows gray or colour images, and this model's data have the shape {shape}.")
    if decoder.noise_sizes or decoder.needs_features:
        raise CannotShow(f"The page moves one level of latents, and {type(decoder).__name__} has several.")
    # Of the prior, for a model may put codes beside what its encoder infers.
    kinds = [kind for kind, _ in vae.prior.blocks]
    if posterior.num_codes is not None or kinds != ["continuous"]:
        raise CannotShow(f"The page moves real numbers, and z of this {type(vae).__name__} has codes.")
    if decoder.likelihood.mean_of_params is None:
        raise CannotShow(f"The page does not know the mean of the likelihood {type(decoder.likelihood).__name__}.")


def _page(vae: Any, seen: content.Seen, title: str, precision: str, encoder: bool) -> str | None:
    """The page; None if the encoder is to be in it, and cannot."""
    weights = PackedArrays(precision)
    # Draws need no more than these.
    of_draws = PackedArrays("float16")
    inferred = _encoder(vae, seen, weights) if encoder else None
    if encoder and inferred is None:
        return None
    condition = content.condition_of(vae, seen)
    priors, z = content.priors_of(vae, seen, of_draws)
    low, high = content.ranges(z, seen.means)
    support_low, support_high = vae.prior.bounds
    model = {
        "title": title,
        "precision": precision,
        "parameters": vae.decoder.count_params(),
        "shape": list(vae.decoder.event_shape),
        "decoder": _decoder(vae, weights),
        "encoder": inferred,
        "condition": condition,
        "priors": priors,
        "worth": np.round(seen.worth, 4).tolist(),
        "unit": seen.unit,
        "low": np.maximum(low, support_low).round(4).tolist(),
        "high": np.minimum(high, support_high).round(4).tolist(),
        "examples": content.examples_of(vae, seen, weights),
        "checks": _checks(vae, seen, z, weights),
    }
    return assemble({"model": model, "weights": weights.text(), "draws": of_draws.text()}, title)


def _decoder(vae: Any, weights: PackedArrays) -> dict[str, Any]:
    decoder, likelihood = vae.decoder, vae.decoder.likelihood
    mean = {"name": likelihood.mean_of_params, "shares": int(likelihood.params_per_value)}
    if likelihood.mean_of_params == "logistic":
        mean |= {"levels": int(likelihood.levels), "initial": float(likelihood.INITIAL_SCALE)}
    steps = [*steps_of(decoder.body, weights), *steps_of(decoder.projection, weights)]
    return {"steps": steps, "mean": mean, "conditioned": decoder.condition is not None}


def _encoder(vae: Any, seen: content.Seen, weights: PackedArrays) -> dict[str, Any] | None:
    """The encoder to the point of q(z|x), or None if the page cannot have it."""
    encoder = vae.encoder
    if encoder.missing or encoder.view is not None or not hasattr(encoder.posterior, "projection"):
        return None
    # Of most posteriors the first parameters are the mean. Looked at, and not believed.
    some = None if seen.condition is None or encoder.condition is None else seen.condition[:8]
    params = np.asarray(encoder.posterior.projection(encoder.features(seen.x[:8], some)))
    if params.shape[-1] < seen.means.shape[-1]:
        return None
    if np.abs(params[:, : seen.means.shape[-1]] - seen.means[:8]).max() > SMALL:
        return None
    try:
        steps: list[Step] = [*steps_of(encoder.body, weights), {"layer": "flatten"}]
        steps += steps_of(encoder.posterior.projection, weights)
    except CannotShow:
        return None
    return {"steps": steps, "conditioned": encoder.condition is not None}


def _checks(vae: Any, seen: content.Seen, z: np.ndarray, weights: PackedArrays) -> dict[str, Any]:
    """z, conditions and examples for which the page and Keras are compared: draws and codes."""
    n = min(len(seen.x), content.CHECKED)
    given = None if seen.condition is None else content.features(vae, seen.condition[:n])
    return {
        "z": weights.exact(np.concatenate([z[:n], seen.means[:n]])),
        "x": weights.exact(seen.x[:n]),
        "given": None if given is None else weights.exact(np.concatenate([given, given])),
    }


def assemble(content: dict[str, Any], title: str, script: str = "page.js") -> str:
    """The HTML of what it holds, under a policy that allows its own script and style and no address at all."""
    folder = resources.files("keras_vae.explorer")
    scripts = [_short(folder.joinpath(name).read_text("utf-8")) for name in ("network.js", script)]
    style = _short(folder.joinpath("page.css").read_text("utf-8"))
    allowed = {"script-src": scripts, "style-src": [style]}
    policy = "; ".join(f"{name} {' '.join(_hash(text) for text in texts)}" for name, texts in allowed.items())
    # Nothing in the data may end the element that they stand in.
    values = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(title),
        "POLICY": f"default-src 'none'; img-src data: blob:; {policy}",
        "STYLE": style,
        "DATA": values,
        "SCRIPTS": "\n".join(f"<script>{text}</script>" for text in scripts),
    }
    # In one pass, so that a title that looks like a place is none.
    pieces = folder.joinpath("page.html").read_text("utf-8").split("@@")
    return "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def _short(text: str) -> str:
    """A script or a style without indentation and without lines that are comments."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def size_in_words(page: str) -> str:
    """How large a page is: 0.98 MB, or 240 kB."""
    size = len(page.encode())
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{math.ceil(size / 1e3)} kB"
