"""keras_vae: variational autoencoders for Keras 3 on TensorFlow, by composition.

Any posterior x any prior x any likelihood x any objective, trained by `fit`, exported with proof.
"""

from keras_vae import startup

startup.check_environment()
startup.import_quietly()

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"keras_vae runs on Keras's TensorFlow backend, but Keras was configured for {keras.backend.backend()!r} "
        '(in ~/.keras/keras.json). Set KERAS_BACKEND="tensorflow" in the environment.'
    )

from keras_vae import (
    callbacks,
    compression,
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
    "compression",
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
