"""Checked settings to the objects they name."""

import importlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras

from keras_vae import conditions
from keras_vae.data.tables.of_kinds import split_schema
from keras_vae.models.decoder import Decoder
from keras_vae.models.encoder import Encoder
from keras_vae.models.ladder import LadderDecoder, LadderEncoder
from keras_vae.models.vae import VAE
from keras_vae_cli import catalogue, own_parts
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import Settings, Train, load

# Of mixed_float16, at the start; it doubles every 2,000 steps as long as nothing overflows.
LOSS_SCALE = 2.0**7
# Muon is for the kernels of hidden layers: these patterns leave all other weights, and those of last layers, to
# Adam.
NOT_BY_MUON = [r"^(?!.*kernel$)", r"(projection|params|logits)/kernel$", r"output_kernel$"]
# Of a weight in training: itself, its gradient and two moments, in 32 bits each.
BYTES_PER_WEIGHT = 16


def read(run: str | Path) -> Settings:
    """The settings of a run folder. One that was written before there was a `data.fit` has stretched its pictures.

    Raises:
        ConfigError: if its config.yaml is missing, damaged or of something else.
    """
    found = _read(run)
    if "fit" in found.data.model_fields_set:
        return found
    return found.model_copy(update={"data": found.data.model_copy(update={"fit": "stretch"})})


def is_before_fit(run: str | Path) -> bool:
    """Whether a run folder is from before there was a `data.fit`.

    Raises:
        ConfigError: as `read`.
    """
    return "fit" not in _read(run).data.model_fields_set


def _read(run: str | Path) -> Settings:
    try:
        return load(Path(run) / "config.yaml")
    except ConfigError as error:
        raise ConfigError(f"{run} is no run folder of keras-vae train, or its config was changed.\n{error}") from None


def make_vae(settings: Settings, event_shape: tuple[int, ...], given: dict[str, Any] | None = None) -> VAE:
    """An untrained model for data of shape [B, *event_shape].

    Args:
        settings: data, model and training.
        event_shape: of one example.
        given: what it is conditioned on, as `data.Splits.condition` says it; None for no condition.
    """
    model = settings.model
    condition = (
        None
        if given is None
        else getattr(conditions, given["name"])(**{name: value for name, value in given.items() if name != "name"})
    )
    implied = {"latent_dim": model.latent_dim, "event_shape": event_shape, "condition": condition}
    if isinstance(settings.data.schema, dict):
        taken = settings.data.condition.columns if settings.data.condition is not None else None
        implied["schema"] = split_schema(settings.data.schema, taken)[1] if taken else settings.data.schema
    elif model.likelihood["name"] == "Mixed":
        raise ConfigError(
            "model.likelihood: Mixed is of tables whose columns have kinds: --set data.schema=infer, of a .csv or "
            "Parquet file, or the kinds themselves."
        )

    def part(kind: catalogue.Kind, spec: dict[str, Any]) -> Any:
        return make_part(kind, spec, **implied)

    def prior() -> Any:
        if not model.takes_sizes:
            return part("prior", model.prior)
        sizes = dict(posterior.sizes)
        if "latent_dim" in model.model_fields_set:
            sizes.pop("latent_dim", None)
        spec = {name: value for name, value in model.prior.items() if name not in catalogue.SIZES or value is not None}
        if not own_parts.is_own(spec["name"]) and "grid" not in {**sizes, **spec}:
            raise ConfigError(
                f"model.prior: {model.prior['name']} is over codes, and {model.posterior['name']} has no grid of them: "
                "give another prior, such as StandardNormal, or a posterior of codes, such as VectorQuantized."
            )
        return make_part("prior", spec, **{**implied, **sizes})

    up, down = part("network", model.encoder), part("network", model.decoder)
    posterior, likelihood = part("posterior", model.posterior), part("likelihood", model.likelihood)
    guide = None if model.guide is None else part("network", model.guide)
    encoder: Encoder
    decoder: Decoder
    if model.latents is None:
        encoder, decoder = Encoder(up, posterior, condition), Decoder(down, likelihood, condition, guide)
    else:
        encoder = LadderEncoder(up, posterior, condition)
        of_levels = None if model.level_posterior is None else part("posterior", model.level_posterior)
        decoder = LadderDecoder(down, likelihood, model.latents, condition, guide, of_levels, model.bidirectional)
    vae: VAE = make_part(
        "vae",
        model.vae,
        encoder=encoder,
        decoder=decoder,
        prior=prior(),
        objective=part("objective", model.objective),
        seed=settings.train.seed,
        gradient_skip_norm=settings.train.gradient_skip_norm,
        **({"missing": True} if settings.data.missing else {}),
    )
    return vae


def check_size(settings: Settings, event_shape: tuple[int, ...], given: dict[str, Any] | None = None) -> None:
    """See that the model can be trained in the memory of this machine. Its weights are counted, and not made.

    Args:
        settings, event_shape, given: as in `make_vae`.

    Raises:
        ConfigError: with the size that it would take, and the setting that makes it so large.
        ValueError: as `make_vae`.
    """

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            vae = make_vae(settings, event_shape, given)
            vae.build()
            return sum(math.prod(variable.shape) for variable in vae.variables)

    # Keras remembers, for each thread, variables that still want their values.
    with ThreadPoolExecutor(max_workers=1) as thread:
        weights = thread.submit(count).result()
    memory = _memory()
    if memory is not None and weights * BYTES_PER_WEIGHT > memory:
        size, name = max(_sizes("model", settings.model.model_dump()))
        wanted, there = (f"{number / 1e9:,.0f} GB" for number in (weights * BYTES_PER_WEIGHT, memory))
        raise ConfigError(
            f"The model would have {weights:,} weights, and its training would take {wanted} of memory, where this "
            f"machine has {there}. The largest number in the config is {name}={size}: choose smaller ones."
        )


def _sizes(name: str, value: Any) -> Iterator[tuple[int, str]]:
    """The counts in a config, with their names."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _sizes(f"{name}.{key}" if isinstance(value, dict) else name, inner)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value, name


def _memory() -> int | None:
    """Bytes that this machine, or its container, has; None where the system does not tell."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (OSError, ValueError, AttributeError):
        return None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such limit
            continue
    return min(limits)


def make_part(kind: catalogue.Kind, spec: dict[str, Any] | str, **implied: Any) -> Any:
    """The part that a name, or a mapping of a name and arguments, stands for; mappings inside it are parts too.

    Args:
        kind: what it is: "posterior", "prior", "likelihood", "objective", "network" or "schedule".
        spec: as in a config.
        implied: arguments that are passed where the constructor takes them: `latent_dim`, `event_shape`, `condition`.
    """
    spec = {"name": spec} if isinstance(spec, str) else spec
    called = spec["name"]
    part = own_parts.find(kind, called) if own_parts.is_own(called) else catalogue.parts()[kind][called]
    arguments = {a.name: a for a in part.arguments}
    values = {name: value for name, value in implied.items() if name in arguments}
    for name, value in spec.items():
        if name != "name":
            inner = [k for k in catalogue.KINDS if k.capitalize() in arguments[name].annotation]
            is_part = inner and isinstance(value, (dict, str))
            values[name] = make_part(inner[0], value, **implied) if is_part else value
    module = own_parts.load(part.module) if own_parts.is_own(called) else importlib.import_module(part.module)
    return getattr(module, part.name.rpartition(":")[2])(**values)


def make_optimizer(train: Train, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer, with a cosine decay from `learning_rate` to `final_learning_rate` if there is one."""
    rate: Any = train.learning_rate
    if train.final_learning_rate is not None:
        rate = keras.optimizers.schedules.CosineDecay(
            train.learning_rate,
            (train.decay_epochs or train.epochs) * steps_per_epoch,
            alpha=train.final_learning_rate / train.learning_rate,
        )
    options: dict[str, Any] = dict(train.optimizer_arguments)
    if train.ema_momentum is not None:
        options.update(use_ema=True, ema_momentum=train.ema_momentum)
    if train.gradient_clip_norm is not None:
        options.update(global_clipnorm=train.gradient_clip_norm)
    optimizer = {name.lower(): name for name in dir(keras.optimizers)}[train.optimizer]
    if train.optimizer == "muon":
        options.update(exclude_layers=NOT_BY_MUON)
    try:
        made = getattr(keras.optimizers, optimizer)(learning_rate=rate, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"train.optimizer_arguments: {optimizer} does not take these: {error}") from None
    if train.precision == "mixed_float16":
        # Losses are sums over pixels: from Keras's 2^15 the first steps would be lost to overflows.
        made = keras.optimizers.LossScaleOptimizer(made, initial_scale=LOSS_SCALE)
    return made
