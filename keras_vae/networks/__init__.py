"""Networks: recipes of layers, which encoder and decoder make when they know the shapes."""

from keras_vae.networks.convolutional import Conv, Residual, conv, residual
from keras_vae.networks.dense import MLP, GatedMLP, gated_mlp, mlp
from keras_vae.networks.distortion import Distorted, distorted
from keras_vae.networks.feature_network import FeatureNetwork
from keras_vae.networks.network import Network

__all__ = [
    "MLP",
    "Conv",
    "Distorted",
    "FeatureNetwork",
    "GatedMLP",
    "Network",
    "Residual",
    "conv",
    "distorted",
    "gated_mlp",
    "mlp",
    "residual",
]
