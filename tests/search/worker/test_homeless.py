"""Users without a home folder: containers that run as an arbitrary user have none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.worker.job import BlockFolder
from snn.settings.user_folders import cache_folder

ROOT = Path(__file__).parents[3]


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_block_cache_falls_back_to_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(OSError, match="set HOME or XDG_CACHE_HOME"):
        cache_folder()
    folder = BlockFolder(path=None, limit_bytes=1).here
    assert folder.name == "blocks"
    assert str(os.getuid()) in folder.parent.name


def test_an_extension_and_a_store_in_a_home_folder_that_is_none_are_a_line_each() -> None:
    program = "from search.commands.cli import main; raise SystemExit(main())"
    words = [sys.executable, "-c", program, "studies", "--store", "sqlite:///~nobody-here/x.db"]
    for extension, fault in (
        ("~nobody-here/mine.py", "SPIKEFRONT_EXTENSIONS: ~nobody-here/mine.py: cannot be loaded: "),
        ("", "sqlite:///~nobody-here/x.db: "),
    ):
        environment = os.environ | {"SPIKEFRONT_EXTENSIONS": extension}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
        path = fault.removeprefix("sqlite:///").rpartition("SPIKEFRONT_EXTENSIONS: ")[2]
        path = path.partition(":")[0]
        assert (done.returncode, done.stderr) == (
            2,
            f"spikefront: {fault}no home folder for {path}; use an absolute path\n",
        )


def test_commands_work_without_a_home_folder() -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "def no_home(): raise RuntimeError('no home')\n"
        "Path.home = no_home\n"
        "from search.commands.cli import main\n"
        "assert main(['validate', 'studies/digits.toml']) == 0\n"
        "sys.exit(main(['doctor']))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr + done.stdout
