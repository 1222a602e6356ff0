"""What benchmarks say about a machine that others use."""

import subprocess
import sys

# A child whose child goes on alone, as a daemon: it burns a second of processor time.
PROGRAM = r"""
import subprocess, sys, time
from benchmarks.report import Watch, busy_seconds

watch = Watch()
before = busy_seconds()[1]
burn = "import time\nwhile time.process_time() < 1: pass"
daemon = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {burn!r}]).pid)"
pid = int(subprocess.check_output([sys.executable, "-c", daemon]))
while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.05)
print(busy_seconds()[1] - before)
"""


def test_daemons_of_a_benchmark_are_no_foreign_load() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) >= 1
