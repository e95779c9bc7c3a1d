"""Promised and measured: whether each config delivers what the lines of its head promise.

    python benchmarks/configs.py                                      # all that promise something in minutes
    python benchmarks/configs.py digits mnist_manifold                # these
    python benchmarks/configs.py lfw --data lfw=my_faces              # on pictures of your own
    python benchmarks/configs.py --quick                              # minutes in all: see benchmarks/quick.py

Each config is trained by `keras-vae train` in RUNS/NAME-SEED, with the seeds that its promises name, and measured by
the files of benchmarks/measures/. Each number is written to RUNS/results.json when it is there, and neither training
nor measuring is done again: started a second time, this goes on where it was stopped, in the middle of a training too.
The table is in RUNS/results.md too, and with --write in benchmarks/results/configs.md. The configs of reproduce/ take
hours, and are run only when they are named.

The exit code is 0 if all promises were measured and kept, 1 if one was not kept, could not be measured or is missing in
a head, 3 if what was measured was kept but data for others are not at hand.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measure
import promises
import report
import rows
from promises import Promise

from keras_vae_cli import settings
from keras_vae_cli.errors import ConfigError

# A picture set of anyone, as configs name it.
PICTURES = "my_pictures"
# Data that the package brings or makes.
MADE_HERE = ("digits", "shapes")
# Exports promise other things, and have their own tests.
ALWAYS = ["export.formats=[]"]


def needs(config: settings.Settings, given: dict[str, Path], fetch: bool) -> tuple[list[str], str | None]:
    """The overrides that say where the data are, and what is missing; None if nothing is.

    Args:
        config: the settings.
        given: where data are, by the name or path that configs have for them.
        fetch: whether tensorflow-datasets may fetch what it does not have.
    """
    source = config.data.path or config.data.name or ""
    if source in given:
        return [f"data.path={given[source].absolute()}"], None
    if config.data.path is not None:
        return [], None if Path(source).exists() else f"{source}: --data {source}=WHERE"
    if fetch or source.partition("/")[0] in MADE_HERE:
        return [], None
    folder = Path(config.data.data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if any((folder / source.partition(":")[0]).rglob("dataset_info.json")):
        return [], None
    return [], f"{source}: --fetch lets tensorflow-datasets get it; --data {source}=PICTURES takes others"


def start_of(name: str, config: settings.Settings) -> str | None:
    """The config of the same folder in whose run the training of `name` starts, if it starts in one."""
    if config.train.start_from is None:
        return None
    start = str(Path(name).with_name(Path(config.train.start_from).name))
    return start if start in promises.names() else None


def place(runs: Path, name: str, seed: int) -> Path:
    """The run folder of a config and a seed."""
    return runs / f"{name}-{seed}"


def is_finished(run: Path) -> bool:
    """Whether `keras-vae train` has ended in this folder."""
    try:
        return bool(json.loads((run / "report.json").read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def child(command: Sequence[str], log: Path) -> int:
    """Run a command, what it prints appended to `log`. What ends this process ends it too, after it has saved."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
        # In a session of its own Ctrl-C does not reach it, and a second signal would end it before it has saved.
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def last_line(log: Path) -> str:
    """What a command said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


class Failed(Exception):
    """A training or a measurement that came to no end."""


def train(name: str, seed: int, options: argparse.Namespace, results: rows.Results) -> tuple[Path, list[str]]:
    """The folder of the finished run, and what was overridden; trained if it is not there yet.

    Raises:
        Failed: with what the training said last.
    """
    run, log = (
        place(options.runs, name, seed),
        place(options.runs, name, seed).with_name(f"{Path(name).name}-{seed}.log"),
    )
    config = settings.load(promises.CONFIGS / f"{name}.yaml")
    where, _ = needs(config, options.data, options.fetch)
    overrides = [*ALWAYS, f"train.seed={seed}", *where, *options.set]
    start = start_of(name, config)
    if start is not None:
        overrides.append(f"train.start_from={train(start, seed, options, results)[0].absolute()}")
    wanted = settings.load(promises.CONFIGS / f"{name}.yaml", overrides)
    if is_finished(run):
        if settings.load(run / "config.yaml") != wanted:
            raise Failed(f"{run} was trained with other settings: delete it, or give other --runs")
        return run, overrides
    print(f"{name}, seed {seed}: training; {log} has what it says", flush=True)
    program = str(Path(sys.executable).with_name("keras-vae"))
    command = [program, "train", str(promises.CONFIGS / f"{name}.yaml"), "--run", str(run), "--set", *overrides]
    clock, processor = time.monotonic(), _of_children()
    try:
        code = child(command, log)
    finally:
        results.add_minutes(run, (_of_children() - processor) / 60, (time.monotonic() - clock) / 60)
    if code or not is_finished(run):
        raise Failed(f"the training ended with exit code {code}: {last_line(log)}")
    return run, overrides


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(metric: str, run: Path) -> float:
    """What a measure finds in a run, by a process of its own.

    Raises:
        Failed: with what it said last.
    """
    log = run.with_name(f"{run.name}.{metric}.log")
    log.unlink(missing_ok=True)
    code = child([sys.executable, str(Path(measure.__file__)), metric, str(run)], log)
    try:
        if code:
            raise ValueError
        return float(last_line(log))
    except ValueError:
        raise Failed(f"measuring {metric} ended with exit code {code}: {last_line(log)} ({log})") from None


def commit() -> str:
    """The commit of this checkout, and whether something was changed in it."""
    answers = []
    for words in (["rev-parse", "--short=8", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        done = subprocess.run(["git", *words], cwd=promises.ROOT, capture_output=True, text=True, check=False)
        answers.append(done.stdout.strip() if done.returncode == 0 else "")
    return (answers[0] or "no commit") + (" with changes" if answers[1] else "")


def keep(name: str, promise: Promise, seed: int, options: argparse.Namespace, results: rows.Results) -> dict[str, Any]:
    """The row of one promise and seed: trained and measured if that was not done before.

    Raises:
        Failed: if it cannot be had.
    """
    run, overrides = train(name, seed, options, results)
    known = results.find(name, promise.metric, seed, overrides)
    spent = results.minutes.get(str(run.relative_to(options.runs)), {})
    data = settings.load(run / "config.yaml").data
    row = known or {
        "config": name,
        "metric": promise.metric,
        "seed": seed,
        "value": measured(promise.metric, run),
        "processor_minutes": spent.get("processor"),
        "minutes": spent.get("clock"),
        "data": data.name or Path(data.path or "").name,
        "set": overrides,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": report.machine(),
        "versions": report.versions(None),
    }
    row = {**row, "promise": str(promise), "sign": promise.sign, "met": promise.is_met(row["value"])}
    results.add(row)
    return row


def run_all(names: Sequence[str], options: argparse.Namespace) -> int:
    """Train and measure what is not there yet, print the table, and return the exit code."""
    remarks: list[tuple[str, str]] = []
    wanted: dict[str, tuple[Promise, ...]] = {}
    is_bad = lacks_data = False
    for name in names:
        made = promises.of(name)
        unknown = sorted({p.metric for p in made} - set(measure.known()))
        if unknown:
            raise promises.HeadError(
                f"configs/{name}.yaml promises {unknown[0]}, and there is no benchmarks/measures/{unknown[0]}.py"
            )
        missing = needs(settings.load(promises.CONFIGS / f"{name}.yaml"), options.data, options.fetch)[1]
        if not made:
            is_bad = True
            remarks.append((name, "promises nothing"))
        elif missing is not None:
            lacks_data = True
            remarks.append((name, f"not run: needs {missing}"))
        else:
            wanted[name] = made
    for name, remark in remarks:
        print(f"{name}: {remark}", flush=True)
    results, found = rows.Results(options.runs), []
    for name, made in wanted.items():
        for promise in made:
            for seed in options.seeds or promise.seeds:
                try:
                    row = keep(name, promise, seed, options, results)
                except Failed as error:
                    is_bad = True
                    remarks.append((name, f"{promise}, seed {seed}: failed: {error}"))
                    print(f"{name}, seed {seed}: {promise}: failed: {error}", flush=True)
                    continue
                found.append(row)
                is_bad |= not row["met"]
                verdict = "met" if row["met"] else "NOT met"
                print(f"{name}, seed {seed}: {promise}: {row['value']:.5g}: {verdict}", flush=True)
    if options.set:
        print(f"\nA trial, no measurement of the configs: --set {' '.join(options.set)}")
    print(f"\n{rows.markdown(found, remarks)}")
    rows.write(options.runs / "results.md", rows.page(found, remarks))
    if options.write:
        rows.publish(found)
    return 1 if is_bad else 3 if lacks_data else 0


def places_of(data: Sequence[str]) -> dict[str, Path]:
    """Where data are, by what configs call them; a path alone is that of anyone's pictures.

    Raises:
        ConfigError: if there is nothing at such a place.
    """
    found = {}
    for text in data:
        source, separator, path = text.rpartition("=")
        found[source if separator else PICTURES] = Path(path)
        if not Path(path).exists():
            raise ConfigError(f"--data {text}: there is no {path}")
    return found


def main() -> None:
    """Read the arguments and the heads, and do what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = promises.names()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--runs", type=Path, default=Path("runs/configs"), help="default: runs/configs")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="instead of those of the promises")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help=f"where data are that configs call NAME, such as frey_faces.npz or lfw; PATH alone is {PICTURES}",
    )
    parser.add_argument("--fetch", action="store_true", help="let tensorflow-datasets fetch what it does not have")
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="as of keras-vae train, for trials")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/configs.md too")
    parser.add_argument("--quick", action="store_true", help="a few dozen steps of each config, on small data")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"there is no config {name!r}; there are {', '.join(known)}")
    if options.write and options.set:
        parser.error("--write is for what the configs measure as they stand, and not for trials with --set")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        options.data = places_of(options.data)
        if options.quick:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            import quick  # with TensorFlow, which nothing else here needs

            sys.exit(quick.run(options.names or known, options.runs))
        names = options.names or [name for name in known if "/" not in name]
        sys.exit(run_all(names, options))
    except (promises.HeadError, ConfigError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
