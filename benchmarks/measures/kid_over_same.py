"""Whether samples look more like the data than those of a plain VAE of the same size, trained for as many steps."""

from pathlib import Path

import keras

import keras_vae as kv
from keras_vae import data
from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import build, run_folder
from keras_vae_cli.settings import Settings
from measures import kid


def measure(run: Path) -> float:
    """The KID of the run's samples, divided by that of a plain VAE's; below 1 they look more like the data.

    The plain one is trained here: the config of the run with `model.vae=VAE`, with its seed, optimizer and epochs.
    """
    settings, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    real = gather(splits.test.dataset(500), kid.MOST)[0]
    return kid.of(vae, real) / kid.of(plain(settings, splits), real)


def plain(settings: Settings, splits: data.Splits) -> kv.VAE:
    """The VAE without a game at the end of its training."""
    train, model = settings.train, settings.model.model_copy(update={"vae": {"name": "VAE"}})
    steps = -(-len(splits.train) // settings.data.batch_size)
    keras.utils.set_random_seed(train.seed)
    vae = build.make_vae(settings.model_copy(update={"model": model}), splits.train.event_shape, splits.condition)
    vae.compile(build.make_optimizer(train, steps))
    vae.fit(
        splits.train.stream(settings.data.batch_size, train.seed),
        steps_per_epoch=steps,
        epochs=train.epochs,
        verbose=0,
    )
    return vae
