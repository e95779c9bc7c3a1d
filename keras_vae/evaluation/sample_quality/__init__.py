"""Whether samples look like the data, as numbers with their errors."""

from keras_vae.evaluation.sample_quality.coverage import PrecisionRecall, precision_recall
from keras_vae.evaluation.sample_quality.distances import FID, KID, fid, kid
from keras_vae.evaluation.sample_quality.features import image_features
from keras_vae.evaluation.sample_quality.neighbours import TwoSampleTest, nearest_neighbours

__all__ = [
    "FID",
    "KID",
    "PrecisionRecall",
    "TwoSampleTest",
    "fid",
    "image_features",
    "kid",
    "nearest_neighbours",
    "precision_recall",
]
