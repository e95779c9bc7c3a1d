"""YAML to checked settings. Unknown keys, wrong types and impossible values are errors that name the key."""

import copy
import functools
import math
import typing
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from keras_vae_cli import catalogue, hints, own_parts
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.strict_yaml import AS_WRITTEN, StrictLoader

DEFAULT_CONFIG = "digits"
# Of a config file.
MAX_BYTES = 100_000

# TensorFlow counts and sizes with 32 bits, and computes with floats of 32 bits.
MOST, LARGEST = 2**31 - 1, 1e30

Name = Annotated[str, StringConstraints(min_length=1)]
PositiveInt = Annotated[int, Field(gt=0, le=MOST)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MOST)]
PositiveFloat = Annotated[float, Field(gt=0.0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
# Annotations whose values can be checked without TensorFlow, and what they are called in an error; a part checks the
# rest when it is made.
CHECKABLE: dict[str, tuple[Any, str]] = {
    "int": (int, "an int"),
    "float": (float, "a number"),
    "str": (str, "a word"),
    "bool": (bool, "true or false"),
    "Sequence[int]": (list[int], "a list of ints such as [512, 256]"),
    "Sequence[int] | None": (list[int] | None, "a list of ints such as [8, 8]"),
    "int | None": (int | None, "an int"),
    "float | None": (float | None, "a number"),
    "float | str": (float | str, "a number or a word"),
}


class Section(BaseModel):
    """A section of a config: unknown keys are errors, and a number must be written as a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ConditionSettings(Section):
    """What a conditional model is given beside the image."""

    name: Literal["label", "gray", "low_resolution", "columns"]
    columns: list[Name] | None = Field(None, description="of a table: taken out of the rows")
    factor: PositiveInt | None = Field(None, description="of low_resolution: pixels on a side that become one")

    @pydantic.model_validator(mode="after")
    def _factor(self) -> "ConditionSettings":
        if (self.name == "low_resolution") != (self.factor is not None):
            raise ValueError("low_resolution takes a factor: {name: low_resolution, factor: 4}; nothing else takes one")
        if (self.name == "columns") != bool(self.columns):
            raise ValueError("columns of a table are a list of their names, such as [sex]; nothing else takes one")
        return self


# Of a method that pydantic has deprecated.
warnings.filterwarnings("ignore", 'Field name "schema" in "Data" shadows', UserWarning)


class Data(Section):
    """Where the images come from and how they are batched."""

    name: Name | None = Field(
        None, description="of a data set: tensorflow-datasets, digits, shapes, oscillations, topics"
    )
    path: Name | None = Field(None, description="a folder of images, or an .npy, .npz or .csv file")
    binarize: Literal["dynamic", "threshold"] | None = None
    batch_size: PositiveInt = Field(128, description="of a step, over all replicas and workers together")
    validation_split: Fraction = Field(0.1, description="fraction of the training images that picks the best epoch")
    test_split: Fraction = Field(0.1, description="fraction held out for the test where the source has no test split")
    resize: tuple[PositiveInt, PositiveInt] | None = None
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="what becomes of pictures of another shape")
    value_range: tuple[float, float] | None = Field(None, description="[black, white] in numbers of the source")
    levels: Annotated[int, Field(ge=2, le=2**16)] | None = Field(None, description="gray levels to round images to")
    data_dir: Name | None = Field(None, description="where tensorflow-datasets keeps its files")
    on_bad_file: Literal["error", "skip"] = "error"
    condition: ConditionSettings | None = Field(
        None, description="label, gray, {name: low_resolution, factor: 4}, or columns of a table: [sex]"
    )
    gray: bool = Field(False, description="colour images become their brightness: one channel")
    mirror: bool = Field(False, description="turn each training picture left to right half of the time")
    missing: bool = Field(False, description="NaN, or an empty cell of a table, is a value that is missing")
    memory: Literal["auto", "ram", "disk"] = Field("auto", description="where data are kept; auto: on disk if need be")
    cache: Name | None = Field(None, description="folder for what is kept on disk")
    series: bool = Field(False, description="arrays [N, steps, channels] are series, and no gray images")
    schema: dict[str, Any] | Literal["infer"] | None = Field(  # type: ignore[assignment]
        None, description="columns of a table: name -> real, positive, count, binary, {category: [a, b]}; or infer"
    )
    class_names: list[Name] | None = Field(None, description="of label 0, 1, 2, ...; those of the data unless given")

    @pydantic.field_validator("condition", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"name": "columns", "columns": value}
        return {"name": value} if isinstance(value, str) else value

    @pydantic.field_validator("resize", "value_range", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @pydantic.field_validator("value_range")
    @classmethod
    def _ascending(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not -math.inf < value[0] < value[1] < math.inf:
            raise ValueError(f"must be [black, white], such as [0, 255], with black below white, not {list(value)}")
        return value

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> "Data":
        if (self.name is None) == (self.path is None):
            raise ValueError("give either name (a data set) or path (your own files), and not both")
        return self


class Model(Section):
    """The parts of the model: each a name, or a mapping of a name and arguments."""

    latent_dim: PositiveInt = Field(16, description="dimensions of z; a prior over codes takes those of its posterior")
    latents: PositiveInt | list[NonNegativeInt] | None = Field(
        None, description="after each stage of the decoder, 0 for none: dimensions, or channels; makes a hierarchy"
    )
    encoder: dict[str, Any] = {"name": "mlp", "units": [512, 256]}
    posterior: dict[str, Any] = {"name": "MultivariateNormalDiag"}
    level_posterior: dict[str, Any] | None = Field(
        None, description="posterior of the levels of latents; by default a diagonal Gaussian with bounded scales"
    )
    bidirectional: bool = Field(False, description="whether levels add the precisions of the way up and the way down")
    prior: dict[str, Any] = {"name": "StandardNormal"}
    decoder: dict[str, Any] = {"name": "mlp", "units": [256, 512]}
    guide: dict[str, Any] | None = Field(
        None, description="network by which the decoder looks at a condition that is an image"
    )
    likelihood: dict[str, Any] = {"name": "Bernoulli"}
    objective: dict[str, Any] = {"name": "ELBO"}
    vae: dict[str, Any] = Field(
        {"name": "VAE"}, description="how it is trained: VAE, VAEGAN, FactorVAE, CascadeVAE, SmoothCodeVAE"
    )

    @pydantic.field_validator(
        "encoder",
        "posterior",
        "level_posterior",
        "prior",
        "decoder",
        "guide",
        "likelihood",
        "objective",
        "vae",
        mode="before",
    )
    @classmethod
    def _part(cls, value: Any, info: pydantic.ValidationInfo) -> dict[str, Any] | None:
        if value is None and info.field_name in ("guide", "level_posterior"):
            return None
        kinds = dict.fromkeys(("encoder", "decoder", "guide"), "network") | {"level_posterior": "posterior"}
        kind: catalogue.Kind = kinds.get(info.field_name, info.field_name)  # type: ignore[assignment, arg-type]
        return check_part(kind, value)

    @property
    def takes_sizes(self) -> bool:
        """Whether the prior is over codes, whose sizes are those of the posterior."""
        name = self.prior["name"]
        part = own_parts.find("prior", name) if own_parts.is_own(name) else catalogue.parts()["prior"][name]
        return any(argument.name in catalogue.SIZES for argument in part.arguments)

    @pydantic.model_validator(mode="after")
    def _levels(self) -> "Model":
        if self.latents is None and (self.level_posterior is not None or self.bidirectional):
            name = "bidirectional" if self.level_posterior is None else "level_posterior"
            raise ValueError(f"{name} is of the levels of a hierarchy: give latents too, such as latents=8")
        return self


# Arguments of optimizers that are settings of their own.
GIVEN_ELSEWHERE = {
    "learning_rate": "train.learning_rate",
    "use_ema": "train.ema_momentum",
    "ema_momentum": "train.ema_momentum",
    "global_clipnorm": "train.gradient_clip_norm",
    "name": "train.optimizer",
}


class Pretraining(Section):
    """A first phase of training with another objective, in a run folder of its own: RUN/pretraining."""

    epochs: PositiveInt
    objective: dict[str, Any] = {"name": "Reconstruction"}
    prior: dict[str, Any] | None = Field(None, description="as of the model, unless given")
    learning_rate: PositiveFloat | None = Field(None, description="as of the training, unless given")
    final_learning_rate: PositiveFloat | None = Field(None, description="as of the training, unless given")

    @pydantic.field_validator("objective", "prior", mode="before")
    @classmethod
    def _part(cls, value: Any, info: pydantic.ValidationInfo) -> dict[str, Any] | None:
        return None if value is None else check_part(info.field_name, value)  # type: ignore[arg-type]


class Train(Section):
    """How the model is trained."""

    epochs: PositiveInt = 50
    optimizer: Literal["adam", "adamw", "adamax", "nadam", "rmsprop", "sgd", "lion", "muon"] = "adam"
    optimizer_arguments: dict[str, float | bool] = Field({}, description="such as {beta_1: 0.99, epsilon: 1.0e-4}")
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate: PositiveFloat | None = Field(None, description="reached by cosine decay at the last step")
    decay_epochs: PositiveInt | None = Field(
        None, description="until final_learning_rate is reached, at which it stays; all, unless given"
    )
    ema_momentum: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None, description="evaluate and keep averaged weights"
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit_compile: Literal["auto"] | bool = "auto"
    steps_per_execution: PositiveInt | None = Field(None, description="at most; a divisor of an epoch's steps is taken")
    start_from: Name | None = Field(
        None, description="a run folder, or .keras file, of a model of the same shape: training begins at its weights"
    )
    pretraining: Pretraining | None = Field(
        None, description="a first phase; a prior that can, such as NormalMixture, then starts from its codes"
    )
    early_stopping: PositiveInt | None = Field(None, description="epochs without a better validation ELBO or bound")
    reduce_on_plateau: PositiveInt | None = Field(
        None, description="epochs without a better validation ELBO or bound until the learning rate is halved"
    )
    gradient_clip_norm: PositiveFloat | None = Field(None, description="longer gradients are scaled down to this norm")
    gradient_skip_norm: PositiveFloat | None = Field(None, description="steps with a longer gradient are skipped")
    checkpoint_seconds: Annotated[float, Field(ge=0.0)] = Field(60.0, description="from one checkpoint to the next")
    checkpoint_steps: PositiveInt | None = Field(None, description="from one checkpoint to the next, if sooner")
    seed: NonNegativeInt = 0
    distribute: Literal["mirrored", "multi_worker"] | None = Field(
        None, description="over the GPUs of this machine, or of all machines in $TF_CONFIG or a Slurm step"
    )
    worker_timeout: Annotated[float, Field(gt=0.0, le=MOST)] = Field(
        900.0, description="seconds that workers wait for one that is stuck"
    )

    @pydantic.field_validator("optimizer_arguments", mode="before")
    @classmethod
    def _given_once(cls, value: Any) -> Any:
        for name, setting in GIVEN_ELSEWHERE.items():
            if isinstance(value, dict) and name in value:
                raise ValueError(f"{name} is given by {setting}, and only there")
        return value

    @pydantic.model_validator(mode="after")
    def _one_rule_for_the_learning_rate(self) -> "Train":
        if self.reduce_on_plateau is not None and self.final_learning_rate is not None:
            raise ValueError("give either final_learning_rate or reduce_on_plateau: both set the learning rate")
        if self.decay_epochs is not None and self.final_learning_rate is None:
            raise ValueError("decay_epochs are those until final_learning_rate is reached: give that too")
        return self

    @pydantic.model_validator(mode="after")
    def _one_start(self) -> "Train":
        if self.start_from is not None and self.pretraining is not None:
            raise ValueError("give either start_from or pretraining: both say at which weights training begins")
        return self


class Export(Section):
    """What is exported when training has ended."""

    formats: list[Literal["saved_model", "tflite"]] = ["saved_model", "tflite"]
    quantize: list[Literal["none", "float16", "dynamic", "int8"]] = ["none"]
    page: bool = Field(True, description="explore.html, a page to play with: see keras-vae explore")


class Settings(Section):
    """One run: data, model, training, export."""

    data: Data
    model: Model = Model()
    train: Train = Train()
    export: Export = Export()

    @property
    def first_phase(self) -> "Settings":
        """Those of the pretraining, as a training of its own that exports nothing."""
        first = self.train.pretraining
        if first is None:
            raise ValueError("These settings have no pretraining.")
        rates = {
            name: getattr(first, name) or getattr(self.train, name) for name in ("learning_rate", "final_learning_rate")
        }
        parts = {"objective": first.objective, "prior": first.prior or self.model.prior, "vae": {"name": "VAE"}}
        return self.model_copy(
            update={
                "model": self.model.model_copy(update=parts),
                "train": self.train.model_copy(
                    update={"epochs": first.epochs, "decay_epochs": None, "pretraining": None, **rates}
                ),
                "export": Export(formats=[], page=False),
            }
        )

    def as_yaml(self) -> str:
        """Every value, the defaults included; of codes without a `latent_dim` none, which would be another's."""
        values = self.model_dump(mode="json")
        if self.model.takes_sizes and "latent_dim" not in self.model.model_fields_set:
            del values["model"]["latent_dim"]
        return yaml.safe_dump(values, sort_keys=False)


def check_part(kind: catalogue.Kind, value: Any) -> dict[str, Any]:
    """A part as a mapping with a known name and known arguments.

    Raises:
        ValueError: naming what is allowed.
    """
    spec = {"name": value} if isinstance(value, str) else value
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise ValueError(f"must be a name or a mapping {{name: ..., argument: ...}}, not {value!r}")
    known = catalogue.parts()[kind]
    name: str = catalogue.other_names().get(spec["name"]) or spec["name"]
    if name not in known and not own_parts.is_own(name):
        raise ValueError(f"no {kind} is called {name!r}; {_allowed(name, known)}, or one of your own, module:Class")
    part = known[name] if name in known else own_parts.find(kind, name)
    arguments = {a.name: a for a in part.given}
    checked: dict[str, Any] = {"name": name}
    for key, given in spec.items():
        if key == "name":
            continue
        if key in catalogue.IMPLIED:
            raise ValueError(f"{key} is not given here: model.latent_dim, the other sections and the data determine it")
        if key not in arguments:
            raise ValueError(f"{name} has no argument {key!r}; {_allowed(key, arguments)}")
        checked[key] = _check_argument(arguments[key], given)
    missing = [a.name for a in arguments.values() if a.required and a.name not in spec]
    if missing:
        raise ValueError(f"{name} needs the argument {missing[0]!r}: {{name: {name}, {missing[0]}: ...}}")
    return checked


def _check_argument(argument: catalogue.Argument, value: Any) -> Any:
    for kind in catalogue.KINDS:
        # A part inside a part, such as the base of a flow or the schedule of a weight.
        if kind.capitalize() in argument.annotation and isinstance(value, (dict, str)):
            return check_part(kind, value)
    _check_numbers(argument.name, value)
    if argument.annotation in CHECKABLE:
        return _check_type(argument, *CHECKABLE[argument.annotation], value)
    return value


def _check_numbers(name: str, value: Any) -> None:
    for inner in value if isinstance(value, list) else [value]:
        if isinstance(inner, float) and not math.isfinite(inner):
            raise ValueError(f"{name} must be finite, not {value!r}")
        if isinstance(inner, int) and abs(inner) > MOST:
            raise ValueError(f"{name} must be at most {MOST:,}, not {inner:,}")


def _check_type(argument: catalogue.Argument, expected: Any, description: str, value: Any) -> Any:
    try:
        checked = _adapter(expected).validate_python(value, strict=True)
    except pydantic.ValidationError as error:
        raise ValueError(f"{argument.name} must be {description}, not {value!r}") from error
    return checked


@functools.cache
def _adapter(expected: Any) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(expected)


def _allowed(name: str, known: Any) -> str:
    near = hints.meant(name, known)
    guess = f"did you mean {near!r}? " if near else ""
    return f"{guess}allowed: {', '.join(known) or 'none'}"


def load(config: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a YAML file, or of a config that comes with the package.

    Args:
        config: path of a YAML file, or the name of a config of the package; None is the default, `digits`.
        overrides: of the form "train.epochs=1", the values in YAML; a name or a path is taken as it is written.

    Raises:
        ConfigError: with one line for each thing that is wrong, and whether it stands in the file or in an override.
    """
    path = find(config)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is no config: it has more than {MAX_BYTES:,} bytes.")
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a YAML file: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold the sections {', '.join(Settings.model_fields)}, not {values!r}.")
    for override in overrides:
        _override(values, override)
    own = path.is_relative_to(catalogue.configs_folder())
    return check(values, f"the config {path.stem}" if own else str(path), overrides)


def check(values: dict[str, Any], source: str, overrides: Sequence[str] = ()) -> Settings:
    """The settings made of a mapping.

    Args:
        values: the mapping.
        source: where they come from.
        overrides: what was changed in them, of the form "train.epochs=1".

    Raises:
        ConfigError: naming every key that is wrong, and `source` or the override that has it.
    """
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as error:
        lines: dict[str, list[str]] = {}
        for details in error.errors():
            lines.setdefault(_blamed(details, source, overrides), []).append(f"  {_describe(details)}")
        text = "\n".join("\n".join([f"{who}:", *what]) for who, what in lines.items())
        raise ConfigError(text) from None


def _blamed(details: Any, source: str, overrides: Sequence[str]) -> str:
    """The last override that touches what is wrong; else the source."""
    wrong = [str(part) for part in details["loc"]]
    for override in reversed(overrides):
        key = override.partition("=")[0].split(".")
        if all(a == b for a, b in zip(key, wrong, strict=False)):
            return f"--set {override}, for {source}"
    return source


def find(config: str | Path | None) -> Path:
    """The file of a config given by path or by name.

    A bare word is the name of a config of the package, if there is one, and else a file: with a suffix, or with "./"
    before it, it is a file in any case.

    Raises:
        ConfigError: if there is none, with the names that there are.
    """
    config = DEFAULT_CONFIG if config is None else config
    folder = catalogue.configs_folder()
    given, named = Path(config), folder / f"{config}.yaml"
    is_bare = str(config) == given.name and not given.suffix
    is_name = str(config) == str(given) and not given.is_absolute()  # nothing like ./mnist
    for path in (named, given) if is_bare else (given, named):
        if path.is_file() and (path is given or is_name):
            return path
    if given.exists():
        raise ConfigError(f"{str(config)!r} is no file: give a YAML file, or the name of a config of the package.")
    known = sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))
    near = hints.meant(given.stem if given.suffix in (".yaml", ".yml") else str(config), known)
    names = f"Did you mean {near}? keras-vae configs lists all" if near else f"The names are {', '.join(known)}"
    raise ConfigError(f"There is no config file {str(config)!r}. {names}; a file is given by its path.")


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set takes key=value such as train.epochs=1, not {override!r}.")
    try:
        value = yaml.load(text, Loader=StrictLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        value = None
        if key.split(".")[-1] not in AS_WRITTEN:
            raise ConfigError(f"--set {key}: {text!r} is not a YAML value.") from None
    # Quotes are YAML's; `null` leaves the setting out.
    if key.split(".")[-1] in AS_WRITTEN and text[:1] not in ("'", '"') and text != "null":
        value = text
    *sections, last = key.split(".")
    place = values
    for section in sections:
        inner = place.setdefault(section, _default_part(section) if place is values.get("model") else {})
        if isinstance(inner, str):
            # A part that is only named: giving it an argument makes a mapping of it.
            inner = place[section] = {"name": inner}
        if inner is None:
            inner = place[section] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {section} is {inner!r}, which has no keys.")
        place = inner
    place[last] = value
    # One source of data replaces the other.
    if key in ("data.path", "data.name") and value is not None:
        place.pop("name" if last == "path" else "path", None)


def _default_part(name: str) -> Any:
    field = Model.model_fields.get(name)
    return copy.deepcopy(field.default) if field and isinstance(field.default, dict) else {}


def _describe(details: Any) -> str:
    key = ".".join(str(part) for part in details["loc"]) or "config"
    if details["type"] == "value_error":
        return f"{key}: {details['msg'].removeprefix('Value error, ')}"
    if details["type"] == "extra_forbidden":
        *sections, name = details["loc"]
        own = list(_section(sections).model_fields)
        near = hints.meant(str(name), own) or hints.meant(str(name), _everything(), looks=False)
        guess = f"did you mean {near if near not in own else '.'.join([*sections, near])}? " if near else ""
        return f"{key}: unknown key; {guess}allowed: {', '.join(own)}"
    if details["type"] == "missing":
        return f"{key}: is missing"
    message = details["msg"]
    return f"{key}: {message[0].lower()}{message[1:]}, not {details['input']!r}"


def _section(names: Sequence[Any]) -> Any:
    section: Any = Settings
    for name in names:
        annotation = section.model_fields[name].annotation
        section = next(iter(typing.get_args(annotation)), annotation)
    return section


def _everything() -> Iterable[str]:
    """All settings by their full names, the arguments of parts behind them."""
    for section in Settings.model_fields:
        yield from (f"{section}.{name}" for name in _section([section]).model_fields)
    for field, kind in (("objective", "objective"), ("encoder", "network"), ("posterior", "posterior"), ("vae", "vae")):
        for part in catalogue.parts()[kind].values():  # type: ignore[index]
            yield from (f"model.{field}.{a.name}" for a in part.arguments if a.name not in catalogue.IMPLIED)
