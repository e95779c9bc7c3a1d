"""Whether a page computes what Keras computes."""

import base64
import json
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_vae.conditions.handed import condition_for
from keras_vae.explorer.browsers import answer_of

DATA = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)
# Between the page and Keras, of values in [0, 1], where weights are in float32.
TOLERANCE = 1e-4


class Checked(NamedTuple):
    """What was compared, and the largest differences.

    Attributes:
        num_decoded: number of z that were decoded.
        decoded: largest difference of their pictures.
        num_encoded: number of pictures that were encoded; 0 without an encoder.
        encoded: largest difference of their codes.
    """

    num_decoded: int
    decoded: float
    num_encoded: int
    encoded: float


def check_page(page: str, vae: Any, data: Any, browser: str) -> Checked:
    """Decode and encode in a browser, and by Keras, the same z and pictures: those that the page holds for it.

    Args:
        page: of `make_page`.
        vae: the model of which it is.
        data: that it was made with; its conditions are needed.
        browser: path of a Chromium.

    Raises:
        BrowserFailed: if the page does not work there.
    """
    from keras_vae.explorer import content

    answer = json.loads(answer_of(page, browser))
    model = held(page)["model"]
    buffer = base64.b64decode(held(page)["weights"])
    z, x = (_array(model["checks"][name], buffer) for name in ("z", "x"))
    seen = content.look_at(vae, data)
    n = len(x)
    condition = None if seen.condition is None else tf.convert_to_tensor(seen.condition[:n])
    both = None if condition is None else tf.concat([condition, condition], axis=0)
    expected = np.asarray(vae.decoder(tf.constant(z), condition=condition_for(vae.decoder, both)).mean())
    shown = np.frombuffer(base64.b64decode(answer["decoded"]), "<f4").reshape(expected.shape)
    if answer["encoded"] is None:
        return Checked(len(z), float(np.abs(shown - expected).max()), 0, 0.0)
    codes = np.asarray(vae.encoder.posterior.point(vae.encode(x, None if condition is None else condition.numpy())))
    found = np.frombuffer(base64.b64decode(answer["encoded"]), "<f4").reshape(codes.shape)
    return Checked(len(z), float(np.abs(shown - expected).max()), n, float(np.abs(found - codes).max()))


def held(page: str) -> dict[str, Any]:
    """The data in a page."""
    found = DATA.search(page)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def _array(place: dict[str, Any], buffer: bytes) -> np.ndarray:
    count = int(np.prod(place["shape"]))
    return np.frombuffer(buffer, "<f4", count, place["at"]).reshape(place["shape"]).copy()
