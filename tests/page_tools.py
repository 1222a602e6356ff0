"""What the scripts that pages become call: `python page_tools.py TOOL ...`.

serve PORT COMMAND...   start a server, wait until it answers, end it as Ctrl-C does; each command
                        once, on whatever port, and by whatever page it is typed
session                 run the Python files that are named on standard input in one namespace
sql FILE                run the statements of a file on the store; each must find something
console FILE            run a command, and compare what it prints with what the page shows
cut STUDY.toml...       make studies short: few trials, small networks, one epoch
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STORE = "runs/spikefront.db"
START_S, END_S = 200.0, 100.0  # of a server


def serve(port: str, *command: str) -> int:
    """0 if the server came up, and ended when it was asked to."""
    served = Path(os.environ["PAGE_SERVED"])
    typed = re.sub(r" (--port |PORT=)\d+", "", " ".join(command))
    if served.exists() and typed in served.read_text(encoding="utf-8").splitlines():
        return 0
    server = subprocess.Popen(command, start_new_session=True)  # Ctrl-C reaches all of a terminal
    until = time.monotonic() + START_S
    try:
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > until:
                print(f"{' '.join(command)}: no answer on port {port}", file=sys.stderr)
                return 1
            time.sleep(0.1)
        os.killpg(server.pid, signal.SIGINT)
        server.wait(timeout=END_S)
        with served.open("a", encoding="utf-8") as file:
            print(typed, file=file)
        return 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _answers(port: str) -> bool:
    import urllib.error  # most calls are of `console`, which needs none of these
    import urllib.request

    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def session() -> int:
    """Says `done` or `failed` behind each file; what files print goes to standard error."""
    import traceback

    said, sys.stdout = sys.stdout, sys.stderr
    sys.path[0] = os.getcwd()  # in place of this folder, whose `search` are the tests of search
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        path = Path(line.strip())
        try:
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
        except Exception:
            traceback.print_exc()
            print("failed", file=said, flush=True)
        else:
            print("done", file=said, flush=True)
    return 0


def sql(path: str) -> int:
    """Statements end with a semicolon at the end of a line."""
    import sqlite3

    with sqlite3.connect(f"file:{STORE}?mode=ro", uri=True) as connection:
        for statement in statements(Path(path).read_text(encoding="utf-8")):
            rows = connection.execute(statement).fetchall()
            print(*("|".join(map(str, row)) for row in rows), sep="\n")
            if not rows:
                print(f"finds nothing: {statement}", file=sys.stderr)
                return 1
    return 0


def statements(text: str) -> list[str]:
    """The statements of a block."""
    return [part.strip() for part in re.split(r";$", text, flags=re.MULTILINE) if part.strip()]


def console(path: str) -> int:
    """0 if the command ended as the page has it, and every line that is shown was printed.

    What complains begins with `spikefront:`, and ends with exit code 2.
    """
    shown = json.loads(Path(path).read_text(encoding="utf-8"))
    ran = subprocess.run(
        ["bash", "-c", shown["command"]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    print(ran.stdout, end="")
    expected = 2 if shown["output"][:1] and shown["output"][0].startswith("spikefront:") else 0
    lost = [line for line in shown["output"] if not is_printed(line, ran.stdout)]
    for line in lost:
        print(f"not printed: {line}", file=sys.stderr)
    if ran.returncode != expected:
        print(f"exit code {ran.returncode}, not {expected}", file=sys.stderr)
    return int(bool(lost) or ran.returncode != expected)


def is_printed(line: str, output: str) -> bool:
    """Whether some line of the output is `line`, numbers and spaces aside; `...` is anything."""
    parts = [re.escape(_plain(part)) for part in line.split("...")]
    pattern = re.compile(r"\s*" + ".*".join(parts) + r"\s*")
    return any(pattern.fullmatch(_plain(printed)) for printed in output.splitlines())


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\d[\d.,]*", "#", line).split())


def cut(*paths: str) -> int:
    """Name, question, axes and objectives stay."""
    import tomllib

    import tomli_w

    for path in map(Path, paths):
        text = path.read_text(encoding="utf-8")
        question = "".join(re.findall(r"\A(?:#.*\n)+", text))
        study = tomllib.loads(text)
        trials = 8 if study["name"] == "digits" else 2  # pages speak of trial 7
        study["budget"] = {"trials": trials, "workers": 0}
        study.setdefault("search", {})["stopping"] = "none"
        study["run"] |= {
            "width": 4,
            "head_hidden": 8,
            "epochs": 1,
            "train_images": 120,
            "validation_fraction": 0.25,
        }
        for name in study["space"]:
            study["run"].pop(name, None)
        path.write_text(question + tomli_w.dumps(study), encoding="utf-8")
    return 0


TOOLS = {"serve": serve, "session": session, "sql": sql, "console": console, "cut": cut}

if __name__ == "__main__":
    sys.exit(TOOLS[sys.argv[1]](*sys.argv[2:]))  # type: ignore[operator]
