"""How good a trained model is, in honest units: nats and bits per dimension, each with its error.

evaluation.evaluate(vae, test, train)                       # everything, JSON-ready
evaluation.scores(vae, test, kind="elbo")                   # how normal each example is
"""

from keras_vae.evaluation.annealing import AnnealedEstimate, annealed_importance_sampling
from keras_vae.evaluation.diagnosis import Finding, diagnose
from keras_vae.evaluation.downstream import CodeClassifier, CodeDensity, augment, fine_tune, self_train
from keras_vae.evaluation.identifiers.tuples import semantic_ids
from keras_vae.evaluation.importance import LogLikelihood, log_likelihood
from keras_vae.evaluation.normality.auroc import Detection, detection
from keras_vae.evaluation.normality.held_out import HeldOut, threshold
from keras_vae.evaluation.normality.kinds import scores
from keras_vae.evaluation.probes import Clustering, Probe, cluster, directions, linear_probe, probe_table
from keras_vae.evaluation.report import evaluate, report_table
from keras_vae.evaluation.sample_quality.coverage import PrecisionRecall, precision_recall
from keras_vae.evaluation.sample_quality.distances import FID, KID, fid, kid
from keras_vae.evaluation.sample_quality.features import image_features
from keras_vae.evaluation.sample_quality.neighbours import TwoSampleTest, nearest_neighbours
from keras_vae.evaluation.sample_quality.summary import judge_samples, quality_table

__all__ = [
    "FID",
    "KID",
    "AnnealedEstimate",
    "Clustering",
    "CodeClassifier",
    "CodeDensity",
    "Detection",
    "Finding",
    "HeldOut",
    "LogLikelihood",
    "PrecisionRecall",
    "Probe",
    "TwoSampleTest",
    "annealed_importance_sampling",
    "augment",
    "cluster",
    "detection",
    "diagnose",
    "directions",
    "evaluate",
    "fid",
    "fine_tune",
    "image_features",
    "judge_samples",
    "kid",
    "linear_probe",
    "log_likelihood",
    "nearest_neighbours",
    "precision_recall",
    "probe_table",
    "quality_table",
    "report_table",
    "scores",
    "self_train",
    "semantic_ids",
    "threshold",
]
