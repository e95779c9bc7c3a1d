"""Models: encoder, decoder, hierarchies, and the VAE that is made of them."""

from keras_vae.models.cascade_vae import CascadeVAE
from keras_vae.models.codes import SmoothCodeVAE
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.factor_vae import FactorVAE
from keras_vae.models.ladder import LadderDecoder, LadderEncoder
from keras_vae.models.storage.untrusted import load
from keras_vae.models.vae import VAE
from keras_vae.models.vae_gan import VAEGAN

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
    "load",
]
