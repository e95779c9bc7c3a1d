"""Measure this package beside its peers, and write the table.

    python benchmarks/run.py [SECTION ...] [--quick] [--peers PYTHON]

The peers live in an environment of their own, which one command makes:

    python3 -m venv benchmarks/peers && benchmarks/peers/bin/pip install -r benchmarks/requirements.txt

Results go to benchmarks/results/: results.md, results.json and scaling.png. Sections that are not run keep the results
that they have. Absolute figures say little on a machine that others use; the ratios come from turns next to each other.
"""

import argparse
import importlib
import os
import time
from pathlib import Path

import report

SECTIONS = {
    "training": "fit beside a bare step, the usual Keras script, PyTorch and pythae",
    "inference": "importance sampling beside bare matrix products, and decoding one z",
    "startup": "import, --help, the first training step, peak memory",
    "parts": "cost of each posterior, prior and likelihood",
    "scaling": "throughput against batch, latent and image size and importance samples",
}


def main() -> None:
    """Run the chosen sections, all of them unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all of them by default"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: whether everything works, not how fast it is")
    parser.add_argument(
        "--peers",
        default=os.environ.get("KERAS_VAE_PEERS", Path(__file__).parent / "peers" / "bin" / "python"),
        help="the Python of the peers' environment; also KERAS_VAE_PEERS",
    )
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    peers = str(options.peers) if Path(options.peers).exists() else None
    if peers is None:
        print(f"No peers at {options.peers}: see benchmarks/requirements.txt. Going on without them.")
    for name in options.sections or SECTIONS:
        started = time.monotonic()
        print(f"== {name}: {SECTIONS[name]}", flush=True)
        tables, targets = importlib.import_module(name).run(peers, options.quick)
        report.save(name, tables, targets, peers, options.quick)
        for table in tables:
            print(table.markdown())
        for target in targets:
            verdict = {True: "met", False: "MISSED", None: ""}[target.is_met]
            print(f"{target.what}: {target.text}   target {target.target}   {verdict}")
        print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
