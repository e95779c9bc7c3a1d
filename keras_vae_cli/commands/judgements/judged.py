"""Samples of a run, judged in the features of a network that stays in its folder."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keras_vae import data, evaluation, files, networks
from keras_vae.evaluation.sample_quality.features import Features, values
from keras_vae.evaluation.statistics import gather, is_deterministic
from keras_vae.models.vae import VAE
from keras_vae_cli.errors import ConfigError

FEATURES = "features.keras"
# A smaller side has no edges to see.
SMALLEST = 4


def check(vae: VAE, features: Path | None) -> None:
    """Refuse what cannot be judged, before long work.

    Raises:
        ConfigError: for a plain autoencoder, and a file of features that is not there.
    """
    if is_deterministic(vae):
        raise ConfigError("--samples is for models that have draws, and this is a plain autoencoder: leave it out.")
    if vae.missing:
        raise ConfigError(
            "--samples compares whole examples, and those of this model have missing values: leave it out."
        )
    if features is not None and not features.is_file():
        raise ConfigError(f"--features {features}: there is no such file.")


def judge(
    run: Path,
    vae: VAE,
    train: data.Arrays,
    test: data.Arrays,
    samples: int,
    features: Path | None,
    seed: int,
    console: Console,
) -> dict[str, Any]:
    """What `evaluation.judge_samples` finds, printed.

    Args:
        run: the folder, which keeps the network that is trained for it.
        vae: its model.
        train: training data, in random order.
        test: test data.
        samples: number of draws.
        features: a file with another network; None for that of the run.
        seed: of the draws.
        console: to print on.
    """
    network, name = _network(run, train, features, console)
    found = evaluation.judge_samples(vae, test.dataset(256), train.dataset(256), samples, network, seed)
    found["features"] = name
    console.print(evaluation.quality_table(found))
    return found


def _network(run: Path, train: data.Arrays, given: Path | None, console: Console) -> tuple[Features, str]:
    """What makes features, and what it is called."""
    path = given or run / FEATURES
    if path.is_file():
        try:
            return keras.saving.load_model(path, compile=False), str(path)
        except Exception as error:  # of Keras, HDF5 and zip, of any kind
            raise ConfigError(f"{path} holds no Keras model that can be loaded: {error}") from None
    x = gather(train.dataset(1024))[0]
    if x.ndim != 4 or min(x.shape[1:3]) < SMALLEST:
        return values, "the values themselves"
    console.print(f"Training a network of features on {len(x):,} training images: half a minute, once for this run.")
    layer = networks.FeatureNetwork()
    layer.adapt(x)
    inputs = keras.Input(x.shape[1:])
    made = keras.Model(inputs, layer(inputs), name="features")
    with files.whole_file(path) as temporary:
        made.save(temporary)
    return made, str(path)
