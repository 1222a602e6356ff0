"""Every how-to page is run, as `test_pages` runs the others; that on clusters with a cluster."""

import re
import secrets
import tempfile
from pathlib import Path

import pytest
import sqlalchemy

from search.runners import ray_tune
from tests import page_tools, pages
from tests.dashboard.example_store import fill
from tests.page_folder import DOCS, new_folder, run_page
from tests.pages import ROOT
from tests.search.postgres import any_server, own_server
from tests.search.store.test_store import a_fresh_url
from tests.two_hosts import two_hosts
from tools.ports import free_port

CLUSTER = DOCS / "how-to" / "cluster.md"
LISTED = (
    """until [ "$(ray status --address=HEAD:6379 | grep -c '1 node_')" -ge 2 ]; do sleep 1; done"""
)
SQL = DOCS / "how-to" / "sql.md"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    sorted(page for page in (DOCS / "how-to").glob("*.md") if page != CLUSTER),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_runs_as_it_stands(page: Path, prepared: Path, tmp_path: Path) -> None:
    run_page(page, prepared, tmp_path)


@pytest.mark.timeout(600)
def test_the_page_on_clusters_runs_with_postgresql_and_two_hosts(
    prepared: Path, tmp_path: Path
) -> None:
    """Two nodes of one host where no second one can be made."""
    folder = new_folder(prepared, tmp_path / "page")
    with (
        own_server() as server,
        two_hosts() as hosts,
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as ray_folder,
    ):
        head, join = "127.0.0.1", "ray start --address"
        if hosts is not None:
            head = hosts.here
            join = (
                f"{' '.join(hosts.run_there)} ray start --node-ip-address={hosts.there} --address"
            )
        database = sqlalchemy.make_url(server.url)
        port = free_port()
        swaps = [
            ("user@dbhost", f"{database.username}@{database.host}:{database.port}"),
            ("RAY_AUTH_TOKEN=...", f"RAY_AUTH_TOKEN={secrets.token_hex(32)}"),
            ("--head --port=6379", f"--head --node-ip-address={head} --port={port}"),
            ("ray start --address", join),
            # a node takes a moment until it is listed
            ("ray status --address", f"{LISTED}\nray status --address"),
            ("HEAD:6379", f"{head}:{port}"),
            ("/shared/data", str(folder / "data")),
            ("/shared/artifacts", str(folder / "shared")),
        ]
        where = {
            "PGHOST": str(database.host),
            "PGPORT": str(database.port),
            "PGUSER": str(database.username),
            "RAY_TMPDIR": ray_folder,
            **ray_tune.ENVIRONMENT,
        }
        said = pages.run(CLUSTER, folder, swaps=swaps, environment=where)
    assert re.search(r"ok +store +postgresql://\S+/spikefront, 0 studies|no store at", said)
    assert len(set(re.findall(r"\b1 node_\w+", said))) == 2
    assert len(list((folder / "shared").glob("mnist-*/*.safetensors"))) == 2


def test_the_queries_run_on_postgresql_too(tmp_path: Path) -> None:
    queries = [
        statement
        for block in pages.blocks(SQL)
        if block.language == "sql"
        for statement in page_tools.statements(block.text)
    ]
    assert len(queries) > 5
    with any_server() as server:
        address = sqlalchemy.make_url(server).set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT")
        with a_fresh_url(engine, tmp_path) as url:
            fill(url, name="digits", count=16)
            reader = sqlalchemy.create_engine(url)
            with reader.connect() as connection:
                for query in queries:
                    connection.exec_driver_sql(query).fetchall()
            reader.dispose()
        engine.dispose()
