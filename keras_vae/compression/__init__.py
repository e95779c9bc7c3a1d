"""Data sets as files of minus their ELBO in bits: bits-back coding with the model itself.

compressed = compression.compress(vae, images)                  # compressed.content, compressed.bits_per_dim
images = compression.decompress(vae, compressed.content).x     # bit for bit
"""

from keras_vae.compression.codec import check_codable
from keras_vae.compression.container import Undecodable, read
from keras_vae.compression.data_sets import Compressed, Decompressed, compress, decompress

__all__ = ["Compressed", "Decompressed", "Undecodable", "check_codable", "compress", "decompress", "read"]
