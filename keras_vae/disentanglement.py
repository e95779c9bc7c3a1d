"""Measures of disentanglement, of codes [N, L] and factors [N, F] as NumPy arrays."""

from keras_vae.evaluation.disentanglement import (
    DCI,
    dci,
    factor_vae_score,
    information_gaps,
    mig,
    modularity,
    mutual_information,
    sap,
    scores,
    unsupervised_accuracy,
    with_indices,
)

__all__ = [
    "DCI",
    "dci",
    "factor_vae_score",
    "information_gaps",
    "mig",
    "modularity",
    "mutual_information",
    "sap",
    "scores",
    "unsupervised_accuracy",
    "with_indices",
]
