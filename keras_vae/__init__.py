"""keras_vae: variational autoencoders for Keras 3 on TensorFlow, by composition.

Any posterior x any prior x any likelihood x any objective, trained by `fit`, exported with proof.
"""

import os

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        f"keras_vae runs on Keras's TensorFlow backend, but KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}. "
        'Unset it or set KERAS_BACKEND="tensorflow" before Keras is imported.'
    )
if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
    raise ImportError(
        "keras_vae is made of Keras 3 models, but TF_USE_LEGACY_KERAS asks TensorFlow for Keras 2. Unset it."
    )

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"keras_vae runs on Keras's TensorFlow backend, but Keras was configured for {keras.backend.backend()!r} "
        '(in ~/.keras/keras.json). Set KERAS_BACKEND="tensorflow" in the environment.'
    )

from keras_vae import (
    callbacks,
    conditions,
    data,
    disentanglement,
    evaluation,
    export,
    flows,
    likelihoods,
    networks,
    objectives,
    pictures,
    posteriors,
    priors,
    schedules,
)
from keras_vae._version import __version__
from keras_vae.models import (
    VAE,
    VAEGAN,
    CascadeVAE,
    Decoder,
    Encoder,
    FactorVAE,
    LadderDecoder,
    LadderEncoder,
    SmoothCodeVAE,
    load,
)
from keras_vae.serialization import register

__all__ = [
    "VAE",
    "VAEGAN",
    "CascadeVAE",
    "Decoder",
    "Encoder",
    "FactorVAE",
    "LadderDecoder",
    "LadderEncoder",
    "SmoothCodeVAE",
    "__version__",
    "callbacks",
    "conditions",
    "data",
    "disentanglement",
    "evaluation",
    "export",
    "flows",
    "likelihoods",
    "load",
    "networks",
    "objectives",
    "pictures",
    "posteriors",
    "priors",
    "register",
    "schedules",
]
