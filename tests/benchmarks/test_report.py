"""What benchmarks say about a machine that others use."""

import subprocess
import sys

import pytest

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


# A process that waits for none of its children, as Ray's node: its worker burns three seconds.
FORGETFUL = r"""
import subprocess, sys
from benchmarks import report

report.LOOKS_S = 0.1
watch = report.Watch()
before = report.busy_seconds()[1]
burn = "import time\nwhile time.process_time() < 3: pass"
node = f'''import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
subprocess.Popen([sys.executable, '-c', {burn!r}]).wait()'''
subprocess.run([sys.executable, "-c", node])
print(report.busy_seconds()[1] - before)
"""


@pytest.mark.parametrize(("program", "least"), [(PROGRAM, 1), (FORGETFUL, 1)])
def test_processes_of_a_benchmark_are_no_foreign_load(program: str, least: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) >= least
