"""The child's side of a race: work when told to, and say how long it took."""

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np


def serve(run: Callable[[int], None], warm_up: int) -> None:
    """Answer each line with a number of steps by a line of JSON, until the input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # What libraries print is no answer.
    run(warm_up)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        cpu, start = _cpu_seconds(), time.perf_counter()
        run(int(line))
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "cpu_seconds": _cpu_seconds() - cpu}), file=answers, flush=True)


def images(count: int, height: int = 28, seed: int = 0) -> np.ndarray:
    """Random zeros and ones, [count, height, height, 1], float32: what they show does not change the speed."""
    generator = np.random.default_rng(seed)
    return (generator.random((count, height, height, 1), np.float32) < 0.3).astype("float32")


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
