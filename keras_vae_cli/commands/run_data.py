"""The data of a run: where they are, and whether they are still those that the run was trained on."""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_vae import data, files
from keras_vae.data.fingerprint import differences
from keras_vae.data.tables import bundled, frames
from keras_vae_cli.commands import build
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import Settings

RECORD = "data.json"
Write = Callable[[str], Any]


def open_data(
    settings: Settings, run: Path | None = None, path: Path | None = None, write: Write | None = None
) -> data.Splits:
    """The data that the settings name, with their conditions, or else with labels where there are any.

    Args:
        settings: of the run.
        run: its folder, which may know where the data were; None for what the settings say.
        path: where they are, if the user has said so.
        write: what shows a line for each remark on the data; None leaves them warnings.

    Raises:
        ConfigError: if the data are neither where the settings say nor where they were.
    """
    condition = settings.data.condition
    source, data_dir = _places(settings, run, path)
    names: Sequence[str] | None = settings.data.class_names
    if names is None and run is not None and condition is not None and condition.name == "label":
        # What a model has learnt as a label stays that: data that come in another order are numbered as it was.
        names = trained_names(run)

    def opened(labels: bool) -> data.Splits:
        return data.read_splits(
            source,
            binarize=settings.data.binarize,
            seed=settings.train.seed,
            labels=labels,
            validation_split=settings.data.validation_split,
            test_split=settings.data.test_split,
            resize=settings.data.resize,
            data_dir=data_dir,
            on_bad_file=settings.data.on_bad_file,
            batch_size=settings.data.batch_size,
            condition=None if condition is None else condition.model_dump(exclude_none=True),
            value_range=settings.data.value_range,
            levels=settings.data.levels,
            # Whoever trains is told how many pictures are cropped.
            fit=None if settings.data.fit == "crop" else settings.data.fit,
            class_names=names,
            mirror=settings.data.mirror,
            missing=settings.data.missing,
            memory=settings.data.memory,
            cache=settings.data.cache,
            series=settings.data.series,
            gray=settings.data.gray,
            schema=settings.data.schema,
        )

    with remarks(write):
        if condition is not None:
            return opened(labels=False)
        if names is not None:
            return opened(labels=True)
        # Whatever is wrong beyond missing labels is said by the second attempt.
        with contextlib.suppress(ValueError):
            return opened(labels=True)
        return opened(labels=False)


@contextlib.contextmanager
def remarks(write: Write | None) -> Any:
    """Show warnings as lines, each once."""
    if write is None:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for line in dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning):
                write(line)
    for warning in caught:
        if warning.category is not UserWarning:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def with_schema(settings: Settings, run: Path, path: Path | None = None) -> Settings:
    """The settings, with the schema of a table where the columns have kinds: it is shown in the config of the run.

    Args:
        settings: of the training.
        run: its folder.
        path: where the data are, if the user has said so.
    """
    if isinstance(settings.data.schema, dict):
        return settings
    source, _ = _places(settings, run, path)
    if settings.data.name is not None:
        found: Any = bundled.SCHEMA if settings.data.name in bundled.NAMES else None
    else:
        place = Path(source).expanduser()
        is_table = place.suffix.lower() in frames.SUFFIXES and place.is_file()
        is_mixed = is_table and (settings.data.schema == "infer" or frames.is_mixed(place))
        found = frames.schema_of(place) if is_mixed else None
    if found is None:
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"schema": dict(found)})})


def moved(settings: Settings, run: Path, path: Path) -> Settings:
    """The settings for a training whose data the user has named by `--data`: of a run that is there, its own.

    Raises:
        ConfigError: if the run is on a dataset by name.
    """
    source = {"name": None, "path": str(path)}
    if (run / "config.yaml").is_file():
        recorded = build.read(run)
        _require_files(recorded)
        source = {"name": recorded.data.name, "path": recorded.data.path}
    return settings.model_copy(update={"data": settings.data.model_copy(update=source)})


def changes(run: Path, splits: data.Splits) -> list[str]:
    """What is different in the data since the run was trained, in sentences; none if that was not recorded."""
    before = _read(run).get("fingerprint")
    return [] if before is None else differences(before, splits.fingerprint or {})


def check(run: Path, splits: data.Splits, accept_changes: bool, write: Write) -> bool:
    """Whether the data are those that the run was trained on; of others, what has changed is shown.

    Raises:
        ConfigError: if they are others, and that is not accepted.
    """
    if not is_recorded(run):
        write(
            f"{run} does not say what data it was trained on: whether these are the same, and whether what is held out "
            "was held out then, is not known."
        )
        return True
    found = changes(run, splits)
    if not found:
        return True
    lines = "\n".join(f"  {line}" for line in found)
    if not accept_changes:
        place = _read(run).get("path")
        where = f" It was trained on {place}; --data PATH names another place." if place else ""
        raise ConfigError(
            f"The data are not those that {run} was trained on:\n{lines}\nExamples that are held out now may have been "
            f"trained on.{where} To go on with these data: --accept-changes."
        )
    write(f"The data are not those that {run} was trained on:\n{lines}")
    return False


def is_recorded(run: Path) -> bool:
    """Whether the run says what it was trained on."""
    return (run / RECORD).is_file()


def record(run: Path, settings: Settings, splits: data.Splits, path: Path | None = None) -> None:
    """Write what the data are, and where, to RUN/data.json."""
    place, data_dir = _places(settings, run, path)
    found = {
        "path": None if settings.data.name else str(_absolute(place)),
        "given": settings.data.path,
        "data_dir": None if data_dir is None else str(_absolute(data_dir)),
        "fingerprint": splits.fingerprint,
        "class_names": None if splits.class_names is None else list(splits.class_names),
    }
    text = json.dumps(found)
    target = run / RECORD
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        files.write_text(target, text)


def white_level(run: Path) -> int | None:
    """The whole number that is white in the data that a run was trained on; None if that was not recorded."""
    white = _read(run).get("fingerprint", {}).get("white")
    return white if isinstance(white, int) and white > 1 else None


def trained_names(run: Path) -> list[str] | None:
    """The classes of the data that a run was trained on, in the order of their labels; None if they have no names."""
    recorded = _read(run)
    found = recorded.get("class_names") or recorded.get("fingerprint", {}).get("classes")
    return [str(name) for name in found] if isinstance(found, list) and found else None


def fit_of_run(settings: Settings, run: Path) -> str:
    """The settings' `data.fit`; that of a run from before there was a choice, which goes on, unless they choose."""
    is_chosen = "fit" in settings.data.model_fields_set or not (run / "config.yaml").is_file()
    return "stretch" if not is_chosen and build.is_before_fit(run) else settings.data.fit


def kept_as(settings: Settings | None, others: Settings) -> Settings:
    """The other settings, with what these say of where data are kept: nothing that is computed depends on it."""
    chosen = {} if settings is None else {"memory": settings.data.memory, "cache": settings.data.cache}
    update = {"memory": "auto", "cache": None} | chosen
    return others.model_copy(update={"data": others.data.model_copy(update=update)})


def place_of(splits: data.Splits) -> str:
    """Of data on disk, where they are kept, and their size; else nothing."""
    found = splits.train.on_disk
    return "" if found is None else f", read from {found[1]} ({found[0] / 2**30:.2f} GB)"


def _places(settings: Settings, run: Path | None, path: Path | None) -> tuple[str | Path, str | Path | None]:
    """The name or the place of the data, and the folder of TensorFlow Datasets."""
    recorded = {} if run is None else _read(run)
    if path is not None:
        _require_files(settings)
        return path, None
    data_dir = settings.data.data_dir
    if settings.data.name is not None:
        return settings.data.name, None if data_dir is None else _there(data_dir, recorded.get("data_dir"))
    given, before = Path(settings.data.path or ""), recorded.get("path")
    if before and recorded.get("given") == settings.data.path and Path(before).exists():
        # Another folder of that name may lie where this command is given.
        return Path(before), data_dir
    found = _there(given, before)
    if before and not found.expanduser().exists():
        places = dict.fromkeys([str(_absolute(given)), str(before)])
        raise ConfigError(
            f"The data of {run} are not at {', nor at '.join(places)}, where it was trained: say where they are by "
            "--data PATH."
        )
    return found, data_dir


def _there(given: str | Path, recorded: str | None) -> Path:
    """The place as it was given, seen from here; if nothing is there, and something where it was, that."""
    given = Path(given)
    if recorded is not None and not given.expanduser().exists() and Path(recorded).exists():
        return Path(recorded)
    return given


def _absolute(place: str | Path) -> Path:
    return Path(os.path.abspath(Path(place).expanduser()))  # noqa: PTH100 - links are left as they are


def _require_files(settings: Settings) -> None:
    if settings.data.name is not None:
        raise ConfigError(
            f"--data names the place of files, and this run is on the dataset {settings.data.name!r}: leave it out."
        )


def _read(run: Path) -> dict[str, Any]:
    path = run / RECORD
    remedy = "put back a copy, or delete it, and the data are taken as they are"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}): {remedy}.") from None
    if not isinstance(found, dict) or not isinstance(found.get("fingerprint", {}), dict):
        raise ConfigError(f"{path} is damaged: {remedy}.")
    return found
