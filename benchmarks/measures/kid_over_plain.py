"""Whether samples look more like the data than those of a plain VAE that was trained for as long."""

import math
import time
from pathlib import Path

import keras

import keras_vae as kv
from keras_vae import data, likelihoods, networks, posteriors, priors
from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import run_folder
from measures import kid

LATENT_DIM, FILTERS, LEARNING_RATE = 64, (32, 64, 128), 1e-3


def measure(run: Path) -> float:
    """The KID of the run's samples, divided by that of a plain VAE's; below 1 they look more like the data.

    The plain one is trained here, for as many seconds as the report says of the run: on the same machine, then, and it
    takes as long again. Three convolutions each way, 64 latents, a standard normal prior, Adam with a cosine decay.
    """
    settings, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    real = gather(splits.test.dataset(500), kid.MOST)[0]
    seconds = run_folder.read_report(run)["training"]["seconds"]
    return kid.of(vae, real) / kid.of(plain(splits, settings.data.batch_size, seconds), real)


def plain(splits: data.Splits, batch_size: int, seconds: float) -> kv.VAE:
    """A VAE that was trained for so long."""
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.Encoder(networks.conv(FILTERS), posteriors.MultivariateNormalDiag(LATENT_DIM)),
        kv.Decoder(networks.conv(FILTERS[::-1]), likelihoods.DiscretizedLogistic(splits.train.event_shape)),
        priors.StandardNormal(LATENT_DIM),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(LEARNING_RATE))
    vae.fit(splits.train.dataset(batch_size, shuffle=True), epochs=100_000, callbacks=[Decay(seconds)], verbose=0)
    return vae


class Decay(keras.callbacks.Callback):
    """A cosine decay of the learning rate to a twentieth over so many seconds, and then the end."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def on_train_begin(self, logs: object = None) -> None:
        """Start the clock."""
        self.start = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Set the rate of the next step."""
        done = min(1.0, (time.monotonic() - self.start) / self.seconds)
        self.model.optimizer.learning_rate = LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * done)))
        if done == 1.0:
            self.model.stop_training = True
