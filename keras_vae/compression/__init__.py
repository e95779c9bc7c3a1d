"""Data sets as files of minus their ELBO in bits: bits-back coding with the model itself.

compressed = compression.compress(vae, images)                  # compressed.content, compressed.bits_per_dim
images = compression.decompress(vae, compressed.content).x     # bit for bit
"""

from keras_vae.compression.data_sets import Compressed, Decompressed, compress, decompress
from keras_vae.compression.container import Damaged

__all__ = ["Compressed", "Damaged", "Decompressed", "compress", "decompress"]
