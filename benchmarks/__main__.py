"""`make bench`: all measurements that stand in docs/BENCHMARKS.md, one after the other, with nothing else running."""

from __future__ import annotations

import subprocess
import sys

MEASUREMENTS = ("benchmarks.speed",)


def main() -> int:
    for module in MEASUREMENTS:
        print(f"== {module}", flush=True)
        status = subprocess.run([sys.executable, "-m", module], check=False).returncode
        if status != 0:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
