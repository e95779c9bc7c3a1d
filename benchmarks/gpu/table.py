"""The tables of what `run.py` has measured: `python benchmarks/gpu/table.py RESULTS/results.json` prints them."""

import argparse
import json
from pathlib import Path
from typing import Any

# The product of the type in which each precision multiplies.
PRODUCT = {"float32": "float32, default", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


def markdown(found: dict[str, Any]) -> str:
    """Machine, differences, speed, kernels and failures."""
    written = found["written"]
    parts = [
        f"{found['device']}, JAX {found['jax']}, {found['date']}; written by keras_vae {written['keras_vae']} with "
        f"TensorFlow {written['tensorflow']} on {written['processor']}, {written['date']}.",
        _products(found),
        _differences(found),
        _speed(found),
        _kernels(found),
    ]
    if found["failed"]:
        parts.append("\n".join(["Failed:", "", *(f"- {row['what']}: {row['why'][:200]}" for row in found["failed"])]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _products(found: dict[str, Any]) -> str:
    speeds = [f"{name} {speed / 1e12:.3g}" for name, speed in found["products"].items()]
    return f"A matrix product of {found['product']} rows, in TFLOP/s: {'; '.join(speeds)}." if speeds else ""


def _differences(found: dict[str, Any]) -> str:
    rows = [
        [
            row["model"],
            row["precision"] + (", highest" if kind == "highest" else ""),
            *(f"{values[key]:.1e}" for key in ("loss, step 1", "loss", "weights", "single weight")),
        ]
        for row in found["cases"].values()
        for kind, values in row["differences"].items()
        if values
    ]
    return _table(["model", "precision", "loss of step 1", "loss", "weights", "single weight"], rows)


def _speed(found: dict[str, Any]) -> str:
    rows = []
    for row in found["cases"].values():
        for size, speed in row["sizes"].items():
            batch, _, highest = size.partition(", ")
            of_product = "float32, highest" if highest else PRODUCT[row["precision"]]
            best = found["products"].get(of_product)
            rows.append(
                [
                    row["model"],
                    row["precision"] + (", highest" if highest else ""),
                    f"{int(batch):,}",
                    f"{speed['ms']:.3g}" + ("*" if speed.get("crowded") else ""),
                    f"{speed['images/s']:,.0f}",
                    f"{speed['FLOP/s'] / 1e12:.3g}",
                    f"{speed['FLOP/s'] / best:.1%}" if best else "",
                    f"{speed['bytes planned'] / 1e6:,.0f}" if speed["bytes planned"] else "",
                ]
            )
    table = _table(["model", "precision", "batch", "ms", "images/s", "TFLOP/s", "of the product", "MB"], rows)
    peak = (found.get("memory") or {}).get("peak_bytes_in_use")
    return table + (f"\n\nThe most that was in use at once: {peak / 1e6:,.0f} MB." if peak else "")


def _kernels(found: dict[str, Any]) -> str:
    rows = [
        [row["model"], row["precision"], f"{int(size):,}", f"{kernel['share']:.0%}", f"{kernel['us']:.1f}", name]
        for row in found["cases"].values()
        for size, kernels in row["kernels"].items()
        for kernel in kernels or []
        if (name := f"`{kernel['name'][:60]}`")
    ]
    return _table(["model", "precision", "batch", "share", "us a step", "kernel"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="results.json")
    print(markdown(json.loads(parser.parse_args().results.read_text(encoding="utf-8"))))
