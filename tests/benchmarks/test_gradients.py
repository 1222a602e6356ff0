"""The picture of gradients by layer."""

import json
from pathlib import Path

import pytest

from benchmarks import gradients


def test_wide_surrogates_grow_narrow_ones_vanish_and_the_picture_has_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "gradients.svg"
    assert gradients.main(["--picture", str(target), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    wide, near, narrow = (figure["value"] for figure in figures)
    assert wide > 2 > 1.5 > near > 1 > 0.6 > narrow
    picture = target.read_text(encoding="utf-8")
    assert [line.count(",") for line in picture.split('points="')[1:]] == [20, 20, 20]
    for slope in gradients.SLOPES:
        assert f">slope {slope:g}<" in picture
