"""Is this one normal? Scores of single examples, thresholds of held-out data, and how well they tell anomalies."""

from keras_vae.evaluation.normality.auroc import Detection, detection
from keras_vae.evaluation.normality.held_out import HeldOut, threshold
from keras_vae.evaluation.normality.kinds import KINDS, scores

__all__ = ["KINDS", "Detection", "HeldOut", "detection", "scores", "threshold"]
