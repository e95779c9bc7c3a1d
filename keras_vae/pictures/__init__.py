"""Pictures of a model, as matplotlib figures and PNG files."""

from keras_vae.pictures.charts import kl_per_dimension, latent_scatter, read_history, scores, training_curves
from keras_vae.pictures.deviations import spread
from keras_vae.pictures.gallery import all_pictures
from keras_vae.pictures.image_files import write_images
from keras_vae.pictures.levels import fixed_levels
from keras_vae.pictures.of_attributes import attributes
from keras_vae.pictures.of_clusters import clusters
from keras_vae.pictures.of_missing import imputations
from keras_vae.pictures.of_models import answers, interpolations, manifold, reconstructions, samples, traversals
from keras_vae.pictures.projector import write_projector
from keras_vae.pictures.tables.columns import marginals, pairs
from keras_vae.pictures.tiles import draw_tiles, is_image, png

__all__ = [
    "all_pictures",
    "answers",
    "attributes",
    "clusters",
    "draw_tiles",
    "fixed_levels",
    "imputations",
    "interpolations",
    "is_image",
    "kl_per_dimension",
    "latent_scatter",
    "manifold",
    "marginals",
    "pairs",
    "png",
    "read_history",
    "reconstructions",
    "samples",
    "scores",
    "spread",
    "training_curves",
    "traversals",
    "write_images",
    "write_projector",
]
