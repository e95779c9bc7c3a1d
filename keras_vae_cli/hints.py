"""What was meant by a name that does not exist: one that looks like it, or means the same elsewhere."""

import difflib
from collections.abc import Iterable

# Names that other libraries and papers use, in small letters without dashes, and ours.
SAME = {
    "adabelief": ("adam",),
    "annealing": ("kl_weight",),
    "autoregressive": ("Flow", "AutoregressiveCodes"),
    "beta": ("kl_weight", "tc_weight"),
    "betatcvae": ("TotalCorrelation",),
    "betavae": ("ELBO",),
    "batchsize": ("batch_size",),
    "bs": ("batch_size",),
    "bce": ("Bernoulli",),
    "categorical": ("RelaxedOneHot", "UniformOneHot", "Categorical"),
    "clipnorm": ("gradient_clip_norm",),
    "cnn": ("conv",),
    "concrete": ("RelaxedOneHot",),
    "convnet": ("conv",),
    "datadir": ("data_dir",),
    "dataset": ("name",),
    "dense": ("mlp",),
    "diagonal": ("MultivariateNormalDiag",),
    "dim": ("latent_dim",),
    "dipvae": ("DIP",),
    "dlogistic": ("DiscretizedLogistic",),
    "dir": ("path",),
    "ema": ("ema_momentum",),
    "epoch": ("epochs",),
    "file": ("path",),
    "folder": ("path",),
    "freebits": ("free_bits",),
    "fullcovariance": ("MultivariateNormalTriL",),
    "gamma": ("tc_weight",),
    "gaussian": ("MultivariateNormalDiag", "StandardNormal", "Normal"),
    "globalclipnorm": ("gradient_clip_norm",),
    "gmm": ("NormalMixture",),
    "gumbelsoftmax": ("RelaxedOneHot",),
    "gumbel": ("RelaxedOneHot",),
    "hidden": ("units",),
    "hiddendims": ("units",),
    "hiddenunits": ("units",),
    "householder": ("MultivariateNormalEigen",),
    "iaf": ("Flow",),
    "importance": ("ImportanceWeighted",),
    "infovae": ("MMD",),
    "isotropic": ("StandardNormal",),
    "iwae": ("ImportanceWeighted",),
    "k": ("num_samples",),
    "kl": ("kl_weight",),
    "klweight": ("kl_weight",),
    "latent": ("latent_dim",),
    "latentsize": ("latent_dim",),
    "latents": ("latent_dim",),
    "layers": ("units", "filters"),
    "learningrate": ("learning_rate",),
    "logistic": ("DiscretizedLogistic",),
    "loss": ("objective",),
    "lowrank": ("MultivariateNormalLowRank",),
    "lr": ("learning_rate",),
    "maf": ("Flow",),
    "mixture": ("NormalMixture", "DiscretizedLogisticMixture"),
    "mog": ("NormalMixture",),
    "mse": ("Normal",),
    "multivariatenormal": ("MultivariateNormalDiag",),
    "network": ("encoder", "decoder"),
    "normal": ("MultivariateNormalDiag", "StandardNormal", "Normal"),
    "normalizingflow": ("Flow", "RealNVP"),
    "normalisingflow": ("Flow", "RealNVP"),
    "nonlinearity": ("activation",),
    "numepochs": ("epochs",),
    "onehot": ("RelaxedOneHot", "UniformOneHot"),
    "opt": ("optimizer",),
    "patience": ("early_stopping",),
    "pixelcnn": ("AutoregressiveCodes",),
    "relu": ("activation",),
    "resnet": ("residual",),
    "samples": ("num_samples",),
    "standardgaussian": ("StandardNormal",),
    "std": ("scale",),
    "sigma": ("scale",),
    "tcvae": ("TotalCorrelation",),
    "temp": ("temperature",),
    "tril": ("MultivariateNormalTriL",),
    "unitgaussian": ("StandardNormal",),
    "vae": ("ELBO", "VAE"),
    "valsplit": ("validation_split",),
    "vq": ("VectorQuantized",),
    "rvq": ("ResidualCodes",),
    "residualvq": ("ResidualCodes",),
    "fsq": ("FiniteScalar",),
    "lfq": ("LookupFree",),
    "bsq": ("LookupFree",),
    "vqvae": ("VectorQuantized",),
    "warmup": ("kl_weight",),
    "weightdecay": ("optimizer_arguments",),
    "zdim": ("latent_dim",),
}


# Verbs of other programs, and ours.
VERBS = {
    "ae": "reconstruct",
    "anomalies": "score",
    "autoencode": "reconstruct",
    "benchmark": "compare",
    "expand": "decompress",
    "extract": "decompress",
    "pack": "compress",
    "unpack": "decompress",
    "unzip": "decompress",
    "zip": "compress",
    "describe": "info",
    "detect": "score",
    "diff": "compare",
    "draw": "sample",
    "embed": "encode",
    "eval": "evaluate",
    "features": "encode",
    "fit": "train",
    "generate": "sample",
    "latents": "encode",
    "likelihood": "score",
    "list": "configs",
    "ls": "configs",
    "models": "configs",
    "morph": "interpolate",
    "predict": "reconstruct",
    "project": "encode",
    "rank": "score",
    "resume": "train",
    "serve": "export",
    "show": "info",
    "status": "info",
    "test": "evaluate",
    "transform": "encode",
    "traverse": "interpolate",
    "visualize": "plot",
}


def meant(name: str, known: Iterable[str], looks: bool = True) -> str | None:
    """The one of the known names that was most likely meant, or None.

    Args:
        name: as it was given.
        known: names, which may have the place where they stand before them: "train.learning_rate".
        looks: whether one that only looks like it may be meant.
    """
    lasts: dict[str, str] = {}
    for full in known:
        lasts.setdefault(full.rpartition(".")[2], full)
    plain = _plain(name)
    by_plain = {_plain(last): last for last in lasts}
    candidates = [by_plain.get(plain), *SAME.get(plain, ())]
    if looks:
        candidates += [by_plain[near] for near in difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.6)]
    return next((lasts[found] for found in candidates if found in lasts), None)


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
