"""The benchmark of recordings: every figure is there, and other libraries read the same events."""

import json

import pytest

from benchmarks import recordings


def test_a_quick_run_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert recordings.main(["--quick", "--json"]) == 0
    figures = {f["name"]: f["value"] for f in json.loads(capsys.readouterr().out)["figures"]}
    assert figures.keys() >= {
        "frames_vs_fastest_peer_nmnist", "frames_vs_fastest_peer_gesture", "data_wait_share",
        "worker_memory_mb", "store_pages_of_two_workers",
    }  # fmt: skip
    assert 0 < figures["data_wait_share"] < 1
    assert 0 < figures["worker_memory_mb"] < 300
