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
    cascade,
    code_priors,
    conditions,
    data,
    diagnosis,
    discrete,
    disentanglement,
    evaluation,
    export,
    features,
    flows,
    hierarchy,
    likelihoods,
    networks,
    objectives,
    pictures,
    posteriors,
    priors,
    quantization,
    regularizers,
    restoration,
    schedules,
)
from keras_vae._version import __version__
from keras_vae.cascade import CascadeVAE
from keras_vae.decoder import Decoder
from keras_vae.encoder import Encoder
from keras_vae.factor import FactorVAE
from keras_vae.loading import load
from keras_vae.serialization import register
from keras_vae.vae import VAE

__all__ = [
    "VAE",
    "CascadeVAE",
    "Decoder",
    "Encoder",
    "FactorVAE",
    "__version__",
    "callbacks",
    "cascade",
    "code_priors",
    "conditions",
    "data",
    "diagnosis",
    "discrete",
    "disentanglement",
    "evaluation",
    "export",
    "features",
    "flows",
    "hierarchy",
    "likelihoods",
    "load",
    "networks",
    "objectives",
    "pictures",
    "posteriors",
    "priors",
    "quantization",
    "register",
    "regularizers",
    "restoration",
    "schedules",
]
