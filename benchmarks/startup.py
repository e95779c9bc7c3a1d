"""What a user waits for before anything is trained, and the memory that training takes."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from race import QUIET, call, spread
from report import Table, Target

OTHERS = "import tensorflow, tensorflow_probability, keras"


def run(peers: str | None, quick: bool) -> tuple[list[Table], list[Target]]:
    """Imports, the command line, the first step, memory."""
    rounds = 2 if quick else 5
    pairs = [(_seconds(["-c", "import keras_vae"]), _seconds(["-c", OTHERS])) for _ in range(rounds)]
    imports = spread([ours / others for ours, others in pairs])
    program = str(Path(sys.executable).with_name("keras-vae"))
    helps = [_seconds(["--help"], program) for _ in range(rounds + 1)][1:]
    firsts = [call("first_step.py") for _ in range(rounds)]
    waits = [first["first_step"] - first["imported"] for first in firsts]
    memory = call("memory.py", "training")
    idle = call("memory.py", "idle")
    least = idle["peak"] + memory["data"]
    share = memory["peak"] / least
    rows = [
        ["import keras_vae", f"{statistics.median(ours for ours, _ in pairs):.2f} s"],
        [OTHERS, f"{statistics.median(others for _, others in pairs):.2f} s"],
        ["keras-vae --help", f"{statistics.median(helps):.2f} s"],
        ["keras-vae train, first step on digits, imports included", f"{_median(firsts, 'first_step'):.1f} s"],
        ["the same beyond imports", f"{statistics.median(waits):.1f} s"],
        ["TensorFlow, TFP and Keras imported, one product computed", f"{idle['peak'] / 2**20:.0f} MiB"],
        [f"training on {memory['what']}, peak", f"{memory['peak'] / 2**20:.0f} MiB"],
        ["the data themselves", f"{memory['data'] / 2**20:.0f} MiB"],
    ]
    table = Table("Start and memory", ["what", "median"], rows, f"{rounds} runs, in fresh processes, taking turns.")
    return [table], [
        Target("`import keras_vae` / TensorFlow, TFP and Keras", imports.median, str(imports), "<= 1.05", at_most=1.05),
        _seconds_target("`keras-vae --help`", helps, 0.5),
        _seconds_target("`keras-vae train`, first step on digits, beyond imports", waits, 5.0),
        Target(
            "peak memory of training on MNIST / (TensorFlow idle + the data)",
            share,
            f"{share:.2f}",
            "<= 1.2",
            at_most=1.2,
        ),
    ]


def _seconds_target(what: str, seconds: list[float], most: float) -> Target:
    middle = statistics.median(seconds)
    text = f"{middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
    return Target(what, middle, text, f"<= {most} s", at_most=most)


def _median(runs: list[dict], key: str) -> float:
    return statistics.median(found[key] for found in runs)


def _seconds(arguments: list[str], program: str = sys.executable) -> float:
    started = time.perf_counter()
    subprocess.run([program, *arguments], env={**os.environ, **QUIET}, capture_output=True, check=True)
    return time.perf_counter() - started
