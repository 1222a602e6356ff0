"""Pages of the documentation as scripts, and running them.

A page becomes one bash script. Its fenced blocks are run in their order, in a folder of the
page's own, so that what one sets or writes is there for those behind it:

    (no language)    commands, each of which must succeed
    console          `$` commands, and what they print
    toml, python     written to a file where the first line is a comment that names one
    python           otherwise run; the blocks of a page share their names
    sql              run on the store
    toml, text       otherwise shown

`<!-- not run: REASON -->` above a block leaves it out.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import quick
from tools.ports import free_port

ROOT = Path(__file__).parent.parent
TOOLS = Path(__file__).with_name("page_tools.py")
LANGUAGES = {"", "console", "toml", "python", "sql", "text"}
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
NAMED = re.compile(r"# ([\w./-]+\.(?:toml|py))\n")
LIMIT_S = 560.0
END_S = 20.0  # for what is killed to be gone

Swaps = Sequence[tuple[str, str]]

PRELUDE = r"""
set -Eeuo pipefail
at=start
trap 'echo "failed: the block at $at, exit code $?" >&2' ERR
tool() { "$PAGE_PYTHON" "$PAGE_TOOLS" "$@"; }
coproc SESSION { tool session; }
run_python() {
  echo "$1" >&"${SESSION[1]}"
  local answer
  read -r answer <&"${SESSION[0]}"
  [ "$answer" = done ]
}
# Dashboards serve until Ctrl-C; what a template is copied to is a study of a night.
spikefront() {
  case "$1" in
    dashboard) tool serve "$PAGE_PORT" spikefront "$@" --port "$PAGE_PORT" ;;
    init) command spikefront "$@" && tool cut "$2.toml" ;;
    *) command spikefront "$@" ;;
  esac
}
make() {
  case "$1" in
    dashboard) tool serve "$PAGE_PORT" make "$@" PORT="$PAGE_PORT" ;;
    *) command make "$@" ;;
  esac
}
"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int  # of the page, on which its text begins
    reason: str  # why it is not run, if so

    @property
    def file(self) -> str | None:
        """The file that it is, if it names one."""
        named = NAMED.match(self.text) if self.language in ("toml", "python") else None
        return named[1] if named else None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            language=found["language"],
            text=found["text"],
            line=text.count("\n", 0, found.start("text")) + 1,
            reason=found["reason"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Of a console block each command, and the lines that are shown of what it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif not _is_whole(found[-1][0]):
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        elif line.strip() != "...":
            found[-1][1].append(line)
    return found


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:  # a quotation that goes on in the next line
        return False
    return not command.endswith("\\")


def script(page: Path, swaps: Swaps, aside: Path) -> str:
    """The page as a script; what its blocks hold but commands is put into the folder `aside`."""
    aside.mkdir()
    parts = [PRELUDE]
    for number, block in enumerate(blocks(page)):
        if not block.reason:
            lines = list(_translated(block, _swapped(block.text, swaps), aside / str(number)))
            parts += [f"at={page.name}:{block.line}", *lines] if lines else []
    return "\n".join([*parts, ""])


def _swapped(text: str, swaps: Swaps) -> str:
    for typed, real in swaps:
        text = text.replace(typed, real)
    return text


def _translated(block: Block, text: str, aside: Path) -> Iterator[str]:
    aside.write_text(text, encoding="utf-8")
    if block.file is not None:
        yield f"mkdir -p {Path(block.file).parent} && cp {aside} {block.file}"
    elif block.language == "":
        yield text
    elif block.language == "python":
        yield f"run_python {aside}"
    elif block.language == "sql":
        yield f"tool sql {aside}"
    elif block.language == "console":
        shown = Block(language="console", text=text, line=block.line, reason="")
        for number, (command, output) in enumerate(commands(shown)):
            path = aside.with_name(f"{aside.name}-{number}.json")
            path.write_text(json.dumps({"command": command, "output": output}), encoding="utf-8")
            yield f"tool console {path}"


def run(
    page: Path,
    folder: Path,
    *,
    swaps: Swaps = (),
    environment: Mapping[str, str] | None = None,
    is_found: bool = True,
) -> str:
    """Run a page in a folder; all that it printed.

    `is_found` tells whether `spikefront` is on the path from the beginning. Raises
    AssertionError with the end of what was printed when a block fails.
    """
    aside = folder / ".page"
    (folder / ".page-script").write_text(script(page, swaps, aside), encoding="utf-8")
    mark = uuid.uuid4().hex
    printed = folder / ".page-printed"
    # a file and not a pipe, which what a page leaves running would hold open
    with printed.open("w") as file:
        bash = subprocess.Popen(
            ["bash", str(folder / ".page-script")],
            cwd=folder,
            env={**surroundings(folder, is_found), **(environment or {}), "SPIKEFRONT_PAGE": mark},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = bash.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_marked(mark)
            bash.wait()
    said = printed.read_text(encoding="utf-8", errors="replace")
    assert code is not None, f"{page.name} was not done in {LIMIT_S:g} s:\n{said[-4000:]}"
    assert code == 0, f"{page.name}:\n{said[-4000:]}"
    return said


def surroundings(folder: Path, is_found: bool) -> dict[str, str]:
    """The environment of a page: a home of its own, and nothing that is set for spikefront."""
    binaries = str(Path(sys.prefix) / "bin")
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if path != binaries]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPIKEFRONT_", "RAY_", "PG", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    home = folder / "home"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return kept | {
        "PATH": os.pathsep.join([str(quick.folder()), binaries, *paths] if is_found else paths),
        "HOME": str(home),
        "XDG_CACHE_HOME": cache,  # with what was compiled for this machine
        "PAGE_PYTHON": sys.executable,
        "PAGE_TOOLS": str(TOOLS),
        "PAGE_SERVED": str(quick.folder() / "served"),
        "PAGE_PORT": str(free_port()),
        "COLUMNS": "100",
    }


def end_marked(mark: str) -> None:
    """End every process that a page has left behind, by the mark in its environment."""
    until = time.monotonic() + END_S
    while (found := marked(mark)) and time.monotonic() < until:
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)  # a process that has been ended is there for a moment


def marked(mark: str) -> list[int]:
    """The processes that carry the mark, and those that they have started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    for parent in found:  # some write over their environment
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(c) for c in children.read_text().split() if int(c) not in found]
    return found
