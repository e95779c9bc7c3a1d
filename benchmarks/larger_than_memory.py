"""Data on disk beside the same data in memory: peak memory, the time until training starts, and the speed of `fit`.

    python benchmarks/larger_than_memory.py FOLDER [--count 100000] [--size 128] [--steps 30] [--rounds 4]

Makes COUNT colour pictures of SIZE x SIZE as JPEG files, 10,000 tiny files and a few pictures of 20 MB in FOLDER, which
is made and removed again, with the cache. Every measurement of memory is of a process of its own: the peak of all that
is resident, and of what is not the system's copy of files. Speeds are of turns next to each other in one process, on
the same batches. The exit code is 1 where memory or speed are not as promised.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

BATCH = 64
TINY, LARGE = 10_000, 4
# What is promised: GB at most, and of the speed in memory at least.
MOST_MEMORY, LEAST_SPEED = 2.0, 0.9


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30, help="of one turn of fit")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each")
    parser.add_argument("--in-memory", type=int, default=40_000, help="pictures that the turns of fit are on")
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    try:
        measure(options)
    finally:
        if not options.keep:
            shutil.rmtree(options.folder)


def measure(options: argparse.Namespace) -> None:
    """All of it."""
    many, tiny, large = (options.folder / name for name in ("many", "tiny", "large"))
    started = time.monotonic()
    make(many, options.count, options.size, "JPEG")
    make(tiny, TINY, 16, "PNG")
    make_large(large, LARGE)
    say(f"made in {time.monotonic() - started:.0f} s")
    each = f"{options.count:,} of {options.size}x{options.size}x3"
    rows = {
        f"{each}, first time": ("whole", many),
        f"{each}, again": ("whole", many),
        f"{TINY:,} files of 16x16x3, first time": ("whole", tiny),
        f"{TINY:,} files of 16x16x3, again": ("whole", tiny),
        f"{LARGE} files of 20 MB to 128x128x3, first time": ("large", large),
    }
    peaks, loads = [], []
    for name, (what, source) in rows.items():
        found = child(what, source, options)
        row(name, found)
        peaks.append(found["peak"])
        loads.append(found["load"])
    found = child("speed", many, options)
    for name in ("warm", "cold"):
        say(f"| `fit` on disk / in memory, {name} | {found[name]} |")
    say(json.dumps(found))
    epoch, (first, again) = options.count * 0.9 / BATCH * found["ms per step"] / 1e3, loads[:2]
    say(f"An epoch takes {epoch:.0f} s; the first begins after {first:.0f} s, that of another run after {again:.0f} s.")
    slowest = min(float(found[name].split()[0]) for name in ("warm", "cold"))
    kept = {
        f"peak of memory {max(peaks):.2f} GB < {MOST_MEMORY} GB": max(peaks) < MOST_MEMORY,
        f"`fit` on disk / in memory {slowest} >= {LEAST_SPEED}": slowest >= LEAST_SPEED,
    }
    for promise, is_kept in kept.items():
        say(f"{promise}: {'yes' if is_kept else 'NO'}")
    if not all(kept.values()):
        raise SystemExit(1)


def make(folder: Path, count: int, size: int, form: str) -> None:
    """Files of smooth pictures with some noise, in folders of a thousand; each is one of 500."""
    random = np.random.default_rng(0)
    contents = []
    for _ in range(min(count, 500)):
        small = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        pixels = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(pixels + random.integers(-8, 9, pixels.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form, **({"quality": 85} if form == "JPEG" else {}))
        contents.append(stream.getvalue())
    for number in range(count):
        place = folder / f"{number // 1000:05}" / f"{number:07}.{'jpg' if form == 'JPEG' else 'png'}"
        if number % 1000 == 0:
            place.parent.mkdir(parents=True)
        place.write_bytes(contents[number % len(contents)])


def make_large(folder: Path, count: int) -> None:
    """PNG files of about 20 MB, of noise in 2,600 x 2,600 pixels."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2600, 2600, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(stream.getvalue())


def child(what: str, source: Path, options: argparse.Namespace) -> dict:
    """What a process of its own has found."""
    command = [sys.executable, __file__, "--child", what, str(source), str(options.steps), str(options.rounds)]
    environment = os.environ | {"KERAS_VAE_CACHE": str(options.folder / "cache")}
    ended = subprocess.run(
        [*command, str(options.in_memory)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


def row(what: str, found: dict) -> None:
    """A row of the table of memory."""
    say(
        f"| {what} | {found['load']:.1f} s | {found['load_cpu']:.1f} s | {found['pass']:.1f} s | "
        f"{found['peak']:.2f} GB | {found['anonymous']:.2f} GB |"
    )


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def of_child(what: str, source: Path, steps: int, rounds: int, in_memory: int) -> None:
    """Print what was found, as JSON on the last line."""
    anonymous = [0.0]
    threading.Thread(target=watch, args=(anonymous,), daemon=True).start()
    if what == "speed":
        found = speeds(source, steps, rounds, in_memory)
    else:
        found = whole(source, steps, (128, 128) if what == "large" else None)
    found |= {"peak": status("VmHWM"), "anonymous": anonymous[0]}
    print(json.dumps(found))


def whole(source: Path, steps: int, resize: tuple[int, int] | None) -> dict:
    """Load from disk, a few steps of `fit`, a pass over all batches."""
    from keras_vae import data

    started, cpu = time.monotonic(), time.process_time()
    splits = data.read_splits(source, memory="disk", resize=resize, test_split=0.25 if resize else 0.1)
    found = {"load": time.monotonic() - started, "load_cpu": time.process_time() - cpu}
    if not resize:
        vae = model(splits.train.event_shape)
        stream = splits.train.stream(BATCH)
        vae.fit(stream, epochs=1, steps_per_epoch=min(steps, 10), verbose=0)
    started = time.monotonic()
    for batch in splits.train.dataset(BATCH, shuffle=True):
        assert batch.shape[0] <= BATCH
    found["pass"] = time.monotonic() - started
    return found


def speeds(source: Path, steps: int, rounds: int, in_memory: int) -> dict:
    """Turns of `fit` on the same batches: from memory, from disk, and from a file of which the system has no copy."""
    from keras_vae import data

    part = data.read_splits(source, memory="disk").train
    part = part.subset(np.arange(min(in_memory, len(part))))
    _, folder = part.on_disk
    values = np.concatenate([np.rint(x * 255).astype(np.uint8) for x in part.dataset(1024).as_numpy_iterator()])
    there = data.Arrays(values, divisor=255.0, share=True)
    vae = model(part.event_shape)
    streams = {"memory": there, "warm": part, "cold": part}
    for x, y in zip(there.stream(BATCH).take(3), part.stream(BATCH).take(3), strict=True):
        assert np.array_equal(x, y)
    vae.fit(there.stream(BATCH), epochs=1, steps_per_epoch=3, verbose=0)
    taken: dict[str, list[float]] = {name: [] for name in streams}
    for number in range(rounds):
        for name in list(streams)[:: 1 if number % 2 else -1]:
            if name == "cold":
                forget(Path(folder))
            stream = streams[name].stream(BATCH, start_step=number * steps)
            started = time.monotonic()
            vae.fit(stream, epochs=1, steps_per_epoch=steps, verbose=0)
            taken[name].append(time.monotonic() - started)
    found: dict = {f"seconds, {name}": [round(t, 2) for t in times] for name, times in taken.items()}
    for name in ("warm", "cold"):
        ratios = [one / other for one, other in zip(taken["memory"], taken[name], strict=True)]
        found[name] = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    return found | {"ms per step": round(1e3 * statistics.median(taken["memory"]) / steps, 1)}


def forget(folder: Path) -> None:
    """Let the system forget what it has of the files in a folder: the next reading is of the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def model(shape: tuple[int, ...]):
    """A convolutional VAE."""
    import keras

    import keras_vae as kv
    from keras_vae import likelihoods, networks, posteriors, priors

    vae = kv.VAE(
        kv.Encoder(networks.conv([16, 32, 64]), posteriors.MultivariateNormalDiag(32)),
        kv.Decoder(networks.conv([64, 32, 16]), likelihoods.Normal(shape)),
        priors.StandardNormal(32),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    return vae


def status(name: str) -> float:
    """A line of what Linux says of this process, in GB."""
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:")) / 2**20


def watch(most: list[float]) -> None:
    """Note the most memory that is no copy of a file."""
    while True:
        most[0] = max(most[0], status("RssAnon"))
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        of_child(sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:]))
    else:
        main()
