"""Whether samples look like the data, as numbers with their errors."""

from keras_vae.evaluation.sample_quality.coverage import PrecisionRecall, precision_recall
from keras_vae.evaluation.sample_quality.distances import FID, KID, fid, kid
from keras_vae.evaluation.sample_quality.features import image_features
from keras_vae.evaluation.sample_quality.neighbours import TwoSampleTest, nearest_neighbours
from keras_vae.evaluation.sample_quality.summary import judge_samples, quality_table

__all__ = [
    "FID",
    "KID",
    "PrecisionRecall",
    "TwoSampleTest",
    "fid",
    "image_features",
    "judge_samples",
    "kid",
    "nearest_neighbours",
    "precision_recall",
    "quality_table",
]
