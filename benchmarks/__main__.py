"""Runs all measurements of docs/BENCHMARKS.md one after the other (`make bench`).

If one fails, the others still run, and the exit status is 1.
"""

from __future__ import annotations

import subprocess
import sys

MEASUREMENTS = (
    ("benchmarks.speed",),
    ("benchmarks.serve", "--write-docs", "--out", "build/serve.json"),
    ("benchmarks.overhead", "--write-docs", "--json", "build/overhead.json"),
    ("benchmarks.child", "--write-docs", "--json", "build/child.json"),
    ("benchmarks.overload", "--write-docs"),
    ("benchmarks.attention", "--write-docs"),
    ("benchmarks.kernels", "--model", "all", "--write-docs", "--json", "build/kernels.json"),
    ("benchmarks.sampling", "--write-docs"),
    ("benchmarks.structured", "--write-docs"),
    ("benchmarks.library", "--models", "default,1b", "--turns", "3", "--write-docs"),
    ("benchmarks.speculation", "--write-docs", "--json", "build/speculation.json"),
    ("benchmarks.contention", "--write-docs"),
    ("benchmarks.scaling", "--write-docs"),
)


def main() -> int:
    failed = []
    for module, *flags in MEASUREMENTS:
        print(f"== {module}", flush=True)
        if subprocess.run([sys.executable, "-m", module, *flags], check=False).returncode != 0:
            failed.append(module)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
