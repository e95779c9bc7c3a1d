"""Run the training steps that `write.py` wrote on whatever device JAX has. Needs JAX and NumPy, nothing else.

    python benchmarks/gpu/run.py FOLDER --out RESULTS [--seconds 220]

Prints, and writes to RESULTS/results.json after each measurement and to RESULTS/table.md at the end:

- the largest difference to the processor that wrote FOLDER, in the losses of its steps and in the weights after them.
  On a GPU float32 is run twice: as it is compiled by default, with inputs of products rounded to TF32, and without;
- images/s with the batch on the device, and FLOP/s of the matrix products and convolutions, beside a matrix product
  of 8192 x 8192 measured in the same run;
- the memory of each program as its compiler plans it, and the most that the device had in use;
- the five kernels that take longest.

What fails is told and left out; once `--seconds` are over, nothing new is begun. XLA tries variants of its kernels,
which takes most of the time: on an H200 the four models at batch 128 took 70 s without it (`--no-autotune`), which is
enough for the differences; with it each program takes 20 to 90 s. But no speed is one without it: products in
bfloat16 run at a hundredth of what they could, and convolutions at a fortieth. A speed that was taken while other
programs still compiled is marked with a star.
"""

import argparse
import concurrent.futures
import datetime
import json
import lzma
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")  # step and seeds are 64 bits wide
if "--no-autotune" in sys.argv:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0"

import jax
import jax.numpy as jnp
import numpy as np
from kernels import longest
from table import markdown

PRODUCTS = {
    "bfloat16": (jnp.bfloat16, "default"),
    "float16": (jnp.float16, "default"),
    "float32, default": (jnp.float32, "default"),
    "float32, highest": (jnp.float32, "highest"),
}
# Before the end: compilations are waited for no longer; half of it is for profiles, which come last, as they may crash.
LAST_SECONDS = 40.0


class Program:
    """A compiled step.

    Args:
        text: StableHLO.
        device: to run on.
    """

    def __init__(self, text: str, device: Any) -> None:
        self.executable = _compiled(text, device)

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """The results, on the device; those arguments that are fed back are gone then."""
        results = self.executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
        return [parts[0] for parts in results]

    @property
    def memory(self) -> int | None:
        """Bytes that the program needs at once, as planned by the compiler."""
        try:
            plan = self.executable.get_compiled_memory_stats()
            sizes = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
            return int(sizes - plan.alias_size_in_bytes)
        except Exception as error:
            return _told(None, "no plan of the memory", error)


class Case:
    """A model in one precision, from the files.

    Args:
        folder: of the files.
        entry: of the index.
        device: to run on.
    """

    def __init__(self, folder: Path, entry: dict[str, Any], device: Any) -> None:
        self.folder, self.entry, self.device = folder, entry, device
        self.name = f"{entry['model']} {entry['precision']}"
        # The batch size of the steps that are compared.
        self.checked = min(int(size) for size in entry["programs"])
        with np.load(folder / f"{entry['model']}.npz") as found:
            self.images = found[entry["images"]]
            self.initial = [found[name] for name in entry["initial"]]

    def text(self, size: int) -> str:
        """The program for batches of a size."""
        return lzma.decompress((self.folder / self.entry["programs"][str(size)]).read_bytes()).decode()

    def batch(self, step: int, size: int) -> Any:
        """The batch of a step, on the device."""
        rows = np.arange(step * size, (step + 1) * size) % len(self.images)
        return jax.device_put(self.images[rows].astype(np.float32) / np.float32(self.entry["white"]), self.device)

    def start(self) -> list[Any]:
        """The variables before the first step, on the device."""
        return [jax.device_put(values, self.device) for values in self.initial]

    def step(self, program: Program, batch: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        """(what the step tells, the variables after it): results are arguments of the next step."""
        results = program([batch, *state])
        state = list(state)
        for result, argument in self.entry["feeds"]:
            state[argument - 1] = results[result]
        return results[: len(self.entry["results"])], state

    def differences(self, program: Program, size: int) -> dict[str, Any]:
        """How far the steps are from those of the processor that wrote the files."""
        told, state = [], self.start()
        for i in range(self.entry["steps"]):
            results, state = self.step(program, self.batch(i, size), state)
            told.append(results)
        loss = self.entry["results"].index("loss")
        losses = np.array([float(np.asarray(results[loss])) for results in told])
        with np.load(self.folder / f"{self.entry['model']}_{self.entry['precision']}.npz") as found:
            expected = found["logs/loss"]
            after = {key: found[f"after/{key}"] for key in self.entry["arguments"] if f"after/{key}" in found.files}
        elements, norms, counts = [], [], {}
        for key, variable, stride in zip(self.entry["arguments"], state, self.entry["strides"], strict=True):
            if key not in after:
                continue
            values, reference = np.asarray(variable).ravel()[::stride], after[key]
            if values.dtype.kind == "f":
                elements.append((_relative(values, reference), key))
                norms.append(float(np.linalg.norm(values - reference) / max(np.linalg.norm(reference), 1e-30)))
            elif not np.array_equal(values, reference):
                counts[key] = f"{values.tolist()} instead of {reference.tolist()}"
        worst, where = max(elements)
        return {
            "loss, step 1": _relative(losses[:1], expected[:1]),
            "loss": _relative(losses, expected),
            # Of the weight matrix or bias that is farthest off; Adam divides by gradients, however small they are.
            "weights": max(norms),
            "single weight": worst,
            "of": where,
            # Steps, seeds, skipped steps: whatever is a whole number.
            "counts": counts,
        }

    def throughput(self, program: Program, size: int, seconds: float) -> dict[str, Any]:
        """Seconds of a step: the least of five turns, all with one batch on the device."""
        batch, state = self.batch(0, size), self.start()

        def steps(n: int) -> float:
            nonlocal state
            begun = time.perf_counter()
            for _ in range(n):
                results, state = self.step(program, batch, state)
            jax.block_until_ready((results, state))
            return time.perf_counter() - begun

        steps(2)
        once = steps(2) / 2
        turns = [steps(n) / n for n in [max(1, min(1000, int(seconds / 5 / once)))] * 5]
        best = min(turns)
        last = float(np.asarray(self.step(program, batch, state)[0][self.entry["results"].index("loss")]))
        return {"ms": 1e3 * best, "slowest ms": 1e3 * max(turns), "images/s": size / best, "loss at the end": last}

    def profile(self, program: Program, size: int, steps: int = 5) -> list[dict[str, Any]]:
        """The five kernels that take longest, of a few steps."""
        batch, state = self.batch(0, size), self.start()
        for _ in range(2):
            _, state = self.step(program, batch, state)
        jax.block_until_ready(state)
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(steps):
                    _, state = self.step(program, batch, state)
                jax.block_until_ready(state)
            return longest(Path(folder), steps)


class Results:
    """results.json, written anew after each measurement.

    Args:
        folder: where it is written.
        head: what is known before.
    """

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.folder, self.found = folder, {**head, "products": {}, "cases": {}, "failed": []}

    def of(self, case: Case) -> dict[str, Any]:
        """The row of a case."""
        row = {"model": case.entry["model"], "precision": case.entry["precision"], "weights": case.entry["weights"]}
        return self.found["cases"].setdefault(case.name, {**row, "differences": {}, "sizes": {}, "kernels": {}})

    def try_to(self, what: str, measure: Callable[[], Any]) -> Any:
        """What is measured, None if it fails, which is noted."""
        try:
            return measure()
        except Exception as error:
            self.failed(what, error)
        return None

    def failed(self, what: str, error: BaseException | str) -> None:
        """Note a failure."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.found["failed"].append({"what": what, "why": text[:1000]})
        print(f"{what}: FAILED: {text[:1000]}", flush=True)
        if isinstance(error, BaseException):
            traceback.print_exception(error, limit=-3, file=sys.stderr)
        self.save()

    def save(self) -> None:
        """Write what there is."""
        text = json.dumps(self.found, indent=1)
        (self.folder / "results.json").write_text(text + "\n", encoding="utf-8")
        (self.folder / "table.md").write_text(markdown(self.found), encoding="utf-8")


def product(dtype: Any, precision: str, size: int) -> float:
    """FLOP/s of a matrix product of random numbers, the best of five turns."""
    keys = jax.random.split(jax.random.key(0), 2)
    left, right = (jax.random.normal(key, (size, size), jnp.float32).astype(dtype) for key in keys)
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    multiply(left, right).block_until_ready()
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(4):
            result = multiply(left, right)
        result.block_until_ready()
        best = min(best, (time.perf_counter() - begun) / 4)
    return 2.0 * size**3 / best


def with_highest_precision(text: str) -> str:
    """The module with float32 in all products and convolutions, where a GPU would round their inputs to TF32."""
    text = text.replace("precision = [DEFAULT, DEFAULT]", "precision = [HIGHEST, HIGHEST]")
    return text.replace("#stablehlo<precision DEFAULT>", "#stablehlo<precision HIGHEST>")


def _compiled(text: str, device: Any) -> Any:
    """The loaded program; the ways to it differ between versions of JAX, and devices."""
    from jax._src.lib import xla_client

    ways = [
        (method, devices, as_text)
        for method in ("compile_and_load", "compile")
        for devices in (lambda: xla_client.DeviceList((device,)), lambda: [device])
        for as_text in (False, True)
    ]
    # Without what is said of the module as a whole: results then do not take the memory of arguments.
    bare = re.sub(r"^(\s*module @\S+) attributes \{.*\} \{$", r"\1 {", text, count=1, flags=re.M)
    errors = []
    for module in (text, bare):
        for method, devices, as_text in ways:
            try:
                program = getattr(device.client, method)(
                    module if as_text else module.encode(), devices(), xla_client.CompileOptions()
                )
                if hasattr(program, "execute_sharded"):
                    return program
                errors.append(f"{method} gave {type(program).__name__}")
            except (TypeError, AttributeError) as error:  # not a way of this version
                errors.append(f"{method}: {type(error).__name__}: {error}"[:300])
            except Exception as error:
                errors.append(f"{method}: {type(error).__name__}: {error}"[:1000])
                break
    raise RuntimeError("; ".join(dict.fromkeys(reversed(errors))))


def _relative(values: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference over the largest value of the reference."""
    values, reference = (np.asarray(array, np.float64) for array in (values, reference))
    return float(np.max(np.abs(values - reference)) / max(float(np.max(np.abs(reference))), 1e-30))


def _told(value: Any, what: str, error: Exception) -> Any:
    print(f"{what}: {type(error).__name__}: {error}"[:500], file=sys.stderr, flush=True)
    return value


def _statistics(device: Any) -> dict[str, int]:
    try:
        return {key: int(value) for key, value in (device.memory_stats() or {}).items()}
    except Exception as error:
        return _told({}, "no statistics of the memory", error)


def main() -> None:
    """Measure, in waves: all cases at the smallest batch, then at the next."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what write.py has written")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    parser.add_argument("--models", nargs="+", help="only these")
    parser.add_argument("--batch-sizes", nargs="+", type=int, help="only these")
    parser.add_argument("--seconds", type=float, default=220.0, help="after which nothing new is begun")
    parser.add_argument("--each", type=float, default=1.0, help="seconds of each measurement of the speed")
    parser.add_argument("--product", type=int, default=8192, help="rows of the matrix product")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1), help="that compile")
    parser.add_argument("--no-autotune", action="store_true", help="for differences alone: XLA tries no variants")
    parser.add_argument("--no-profile", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    def left() -> float:
        return options.seconds - (time.monotonic() - begun)

    jax.config.update("jax_enable_x64", True)
    index = json.loads((options.folder / "index.json").read_text(encoding="utf-8"))
    device = jax.devices()[0]
    head = {
        "device": getattr(device, "device_kind", str(device)),
        "platform": device.platform,
        "platform version": str(getattr(device.client, "platform_version", "")),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "product": options.product,
        "written": index["written"],
    }
    print(f"{head['device']} ({device.platform}), JAX {jax.__version__}; {left():.0f} s left", flush=True)
    results = Results(options.out, head)
    cases = [
        case
        for entry in index["cases"]
        if not options.models or entry["model"] in options.models
        if (case := results.try_to(entry["model"], lambda e=entry: Case(options.folder, e, device)))
    ]
    sizes = sorted({int(size) for case in cases for size in case.entry["programs"]})
    if options.batch_sizes:
        sizes = [size for size in sizes if size in options.batch_sizes]
    pool = concurrent.futures.ThreadPoolExecutor(options.threads)

    def compile_(case: Case, size: int, highest: bool) -> tuple[Program, float]:
        if left() < LAST_SECONDS:
            raise TimeoutError("no time left")
        at = time.monotonic()
        text = case.text(size)
        return Program(with_highest_precision(text) if highest else text, device), time.monotonic() - at

    for name, (dtype, precision) in PRODUCTS.items():
        speed = results.try_to(f"product in {name}", lambda d=dtype, p=precision: product(d, p, options.product))
        if speed:
            results.found["products"][name] = speed
            print(f"matrix product of {options.product}, {name}: {speed / 1e12:.2f} TFLOP/s", flush=True)
    results.save()
    to_profile = []
    for size in sizes:
        wave = {}
        for case in cases:
            if str(size) in case.entry["programs"]:
                wave[case, False] = pool.submit(compile_, case, size, False)
                if size == case.checked and case.entry["precision"] == "float32":
                    wave[case, True] = pool.submit(compile_, case, size, True)
        concurrent.futures.wait(wave.values(), timeout=max(1.0, left() - LAST_SECONDS))
        print(f"batch {size}: compiled; {left():.0f} s left", flush=True)
        for (case, highest), future in wave.items():
            what = f"{case.name}, batch {size}{', highest precision' if highest else ''}"
            if not future.done() or left() < LAST_SECONDS / 2:
                future.cancel()
                results.failed(what, "no time left")
                continue
            made = results.try_to(f"{what}, compilation", future.result)
            if made is None:
                continue
            program, seconds = made
            row = results.of(case)
            if size == case.checked:
                found = results.try_to(f"{what}, differences", lambda c=case, p=program, s=size: c.differences(p, s))
                row["differences"]["highest" if highest else "default"] = found
                print(f"{what}: differences {found}", flush=True)
            crowded = any(not other.done() for other in wave.values())
            speed = results.try_to(f"{what}, speed", lambda c=case, p=program, s=size: c.throughput(p, s, options.each))
            if speed is None:
                continue
            speed["crowded"] = crowded
            statistics = _statistics(device)
            speed |= {
                "FLOP": case.entry["flops"][str(size)],
                "FLOP/s": case.entry["flops"][str(size)] / speed["ms"] * 1e3,
                "bytes planned": program.memory,
                "peak bytes of the process so far": statistics.get("peak_bytes_in_use"),
                "seconds to compile": seconds,
            }
            row["sizes"][f"{size}, highest" if highest else str(size)] = speed
            print(
                f"{what}: {speed['ms']:.3f} ms, {speed['images/s']:,.0f} images/s, {speed['FLOP/s'] / 1e12:.3f} "
                f"TFLOP/s, {(speed['bytes planned'] or 0) / 1e6:.0f} MB, compiled in {seconds:.1f} s",
                flush=True,
            )
            if size == sizes[len(sizes) // 2] and not highest:
                to_profile.append((case, size, program))
            results.save()
        wave.clear()
    for case, size, program in [] if options.no_profile else to_profile:
        what = f"{case.name}, batch {size}, kernels"
        if left() < 3.0:
            results.failed(what, "no time left")
            continue
        kernels = results.try_to(what, lambda c=case, p=program, s=size: c.profile(p, s))
        results.of(case)["kernels"][str(size)] = kernels
        print(what, flush=True)
        for kernel in kernels or []:
            print(f"    {kernel['share']:6.1%} {kernel['us']:9.1f} us  {kernel['name'][:100]}", flush=True)
        results.save()
    results.found["memory"] = _statistics(device)
    results.found["seconds"] = time.monotonic() - begun
    results.save()
    print((options.out / "table.md").read_text(encoding="utf-8"))
    print(f"{results.found['seconds']:.0f} s, {len(results.found['failed'])} failures", flush=True)
    # A compilation that hangs is left behind.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
