"""One measure of one finished run: `python benchmarks/measure.py METRIC RUN` prints the number.

METRIC is the name of a file in benchmarks/measures/.
"""

import argparse
import importlib
from pathlib import Path

import promises


def known() -> list[str]:
    """The names of all measures."""
    return sorted(path.stem for path in promises.MEASURES.glob("[a-z]*.py"))


def main() -> None:
    """Print the number, on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metric", choices=known(), metavar="METRIC", help=f"of {', '.join(known())}")
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    options = parser.parse_args()
    value = float(importlib.import_module(f"measures.{options.metric}").measure(options.run))
    print(f"\n{value!r}", flush=True)


if __name__ == "__main__":
    main()
