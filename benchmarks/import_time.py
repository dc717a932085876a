"""The time of `import jaxrecon` against `import jax`, in fresh processes taken in turn.

    python benchmarks/import_time.py [repeats]
"""

import statistics
import subprocess
import sys


def seconds(module: str) -> float:
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds("jaxrecon")  # writes the byte code
    pairs = [(seconds("jax"), seconds("jaxrecon")) for _ in range(repeats)]
    jax, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"import jax {jax:.3f} s, import jaxrecon (jax included) {ours:.3f} s, median ratio {ratio:.2f} of {repeats}")


if __name__ == "__main__":
    main()
