"""The server in a real browser: its settings, its place behind a proxy, the browser's history."""

import ast
import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from dashboard.parts.frame import VIEWS
from dashboard.parts.store_cache import STORE_VARIABLE
from tests.dashboard.browsing import opened, press, shows
from tools.ports import free_port

CONFIG = """
[server]
baseUrlPath = "elsewhere"
sslCertFile = "/nowhere/certificate.pem"
[global]
developmentMode = true
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location /a/path/ {{
      proxy_pass http://127.0.0.1:{target}{path};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""


@contextlib.contextmanager
def running(command: list[str], address: str, *, folder: Path, store: str = "") -> Iterator[None]:
    """Run a server in `folder`, from its first answer at `address` on."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, STORE_VARIABLE: store, "PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 200
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=100)


def pages(port: int | None, *options: str) -> list[str]:
    return [sys.executable, "-m", "dashboard.serving.server", "--port", str(port), *options]


LOADED = """
import importlib, sys
from dashboard.serving import server
for name in server.NEEDED:
    importlib.import_module(name)
before = {name.split(".")[0] for name in sys.modules}
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({name.split(".")[0] for name in sys.modules} - before))
"""


def test_no_page_waits_for_a_package_to_load() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in VIEWS.glob("*.py")]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = sorted({str(node.module) for node in nodes if node.module != "collections.abc"})
    assert "dashboard.data" in names
    command = [sys.executable, "-c", LOADED, *names, "dashboard.data.frames"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in found if name in ("pandas", "plotly", "pyarrow", "sqlalchemy")] == []


@pytest.fixture(scope="module")
def app(example_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pages, started in a folder with Streamlit settings that would break them."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "config.toml").write_text(CONFIG)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running(pages(port), address, folder=folder, store=example_url):
        yield address


def test_back_undoes_one_act_of_the_user_and_boxes_name_the_study_shown(
    page: Page, app: str
) -> None:
    opened(page, f"{app}/", text="Open the front")
    page.get_by_text("Open the front").nth(1).click()
    shows(page, "Knee of the front")
    for name, address in (("Network", "/network"), ("Export", "/export")):
        page.get_by_role("link", name=name, exact=True).first.click()
        page.wait_for_url(f"{app}{address}?**study=finished**")
        expect(page.locator(".st-key-choose-study input")).to_have_value("finished")
    expect(page.locator(".st-key-choose-x input")).to_have_value("Synaptic operations")
    for address in ("/network?**", "/front?**", "/"):
        page.go_back()
        page.wait_for_url(f"{app}{address}")
        expect(page.get_by_test_id("stApp")).to_have_attribute(
            "data-test-script-state", "notRunning"
        )
    shows(page, "Open the front")


def test_three_presses_of_back_within_a_moment_show_the_page_of_the_address(
    page: Page, app: str
) -> None:
    opened(page, f"{app}/", text="Open the front")
    page.get_by_text("Open the front").nth(1).click()
    shows(page, "Knee of the front")
    for name, address in (("Network", "/network"), ("Export", "/export")):
        page.get_by_role("link", name=name, exact=True).first.click()
        page.wait_for_url(f"{app}{address}?**study=finished**")
    for _ in range(3):
        page.evaluate("history.back()")
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
    shows(page, "Open the front")
    assert urlsplit(page.url).path == "/"


# JavaScript: the entries that the history gains, with the script of our document.
ENTRIES = """
(acts) => acts.map(([kind, address]) => {
    const before = history.length;
    const link = Object.assign(document.createElement("a"), {href: "network"});
    document.body.append(link);
    const target = kind === "link" ? link : window;
    if (kind) target.dispatchEvent(new Event(kind === "link" ? "click" : kind, {bubbles: true}));
    link.remove();
    if (address) history.pushState({}, "", address);
    return history.length - before;
})
"""


def test_only_acts_of_the_user_and_other_pages_become_entries_of_the_history(
    page: Page, app: str
) -> None:
    """A page that filled in its address late took the entry of the page that came next."""
    opened(page, f"{app}/launch", text="Launch")
    acts = [
        ("pointerdown", "?a=1", 1),
        ("", "?a=1&b=1", 0),  # filled in by the page
        ("click", "?a=1&b=1&c=1", 1),
        ("link", "?a=1&b=1&c=1&d=1", 0),  # filled in late, after a click on a link to a page
        ("", "network?a=1", 1),
        ("", "?a=1&trial=0", 0),
        ("click", "?a=1&trial=0", 0),  # the same address
        ("", "?a=1&trial=1", 1),
        ("keydown", "", 0),  # Alt and an arrow go back
        ("popstate", "export?a=2", 0),  # of a page that was left
        ("", "?a=2", 0),
    ]
    found = page.evaluate(ENTRIES, [[kind, address] for kind, address, _ in acts])
    assert found == [entries for _, _, entries in acts]
    assert page.url == f"{app}/network?a=2"


@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="needs nginx")
@pytest.mark.parametrize("is_stripped", [True, False])
def test_the_pages_work_behind_a_proxy_with_a_path(
    is_stripped: bool, page: Page, app: str, example_url: str, tmp_path: Path
) -> None:
    port = free_port()
    target = urlsplit(app).port if is_stripped else free_port()
    path = "/" if is_stripped else ""
    settings = tmp_path / "nginx.conf"
    settings.write_text(NGINX.format(folder=tmp_path, port=port, target=target, path=path))
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin") or "nginx"
    inner, outer = (f"http://127.0.0.1:{each}/a/path" for each in (target, port))
    with contextlib.ExitStack() as servers:
        if not is_stripped:
            server = pages(target, "--base-path", "/a/path")
            servers.enter_context(running(server, inner, folder=tmp_path, store=example_url))
        proxy = [nginx, "-e", str(tmp_path / "error.log"), "-c", str(settings)]
        servers.enter_context(running(proxy, outer, folder=tmp_path))
        opened(page, f"{outer}/matters?study=finished", text="Parameters and metric")
        page.wait_for_url(f"{outer}/importance?**")
        press(page, "Front")
        page.wait_for_url(f"{outer}/front?**study=finished**")
        shows(page, "Knee of the front")
