"""Cached runs of trained networks on their validation images."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

from dashboard.data.position import Position
from dashboard.parts import downloads
from dashboard.parts.store_cache import open_store
from search.export.export import export_point
from search.export.replay import Replay, replay
from search.store.store import Store, StoredPoint
from search.trial.trial import Trial
from snn.evaluation.raster import ImageRaster
from snn.settings.measurement import OperatingPoint

THRESHOLDS = tuple(place / 25 for place in range(26))  # of a threshold curve
MOST_STEPS = 12  # curves of a figure


def of_trial(url: str, study: str, trial: Trial) -> Replay:
    """Return the trial's network, run on its validation images. Raises ReplayError."""
    return _replay(*_name(url, study, trial))


def _name(url: str, study: str, trial: Trial) -> tuple[str, str, int, str, str]:
    weights = trial.artifact.sha256 if trial.artifact else ""
    return url, study, trial.number, weights, str(downloads.data_dir())


@st.cache_resource(show_spinner="Running the network on its validation images", max_entries=3)
def _replay(url: str, study: str, number: int, weights: str, data_dir: str) -> Replay:
    del weights  # only part of the cache key: another network of the same name is not this one
    return replay(open_store(url), study, number, data_dir=Path(data_dir))


def curves(
    url: str, study: str, trial: Trial, position: Position, exit_: int
) -> Mapping[int, Sequence[tuple[float, OperatingPoint]]]:
    """Return points at other thresholds of one exit (from 1), by timesteps, all else unchanged."""
    assert trial.engine_config is not None
    others = (*position.thresholds[: exit_ - 1], 0.0, *position.thresholds[exit_:])
    name = _name(url, study, trial)
    steps = trial.engine_config.timesteps
    return _curves(*name, replace(position, thresholds=others, timesteps=steps), exit_)


@st.cache_resource(show_spinner=False, max_entries=64)
def _curves(
    url: str,
    study: str,
    number: int,
    weights: str,
    data_dir: str,
    position: Position,
    exit_: int,
) -> Mapping[int, Sequence[tuple[float, OperatingPoint]]]:
    seen = _replay(url, study, number, weights, data_dir)
    every = -(-position.timesteps // MOST_STEPS)
    before, after = position.thresholds[: exit_ - 1], position.thresholds[exit_:]
    found = {}
    for step in range(position.timesteps, 0, -every):
        places = (
            replace(position, timesteps=step, thresholds=(*before, value, *after))
            for value in THRESHOLDS
        )
        found[step] = [
            (value, seen.point(*place.setting))
            for value, place in zip(THRESHOLDS, places, strict=True)
        ]
    return found


def points_at(
    url: str, study: str, trial: Trial, places: Sequence[Position]
) -> tuple[OperatingPoint, ...]:
    """Return the operating points at these positions."""
    return _points_at(*_name(url, study, trial), tuple(places))


@st.cache_resource(show_spinner=False, max_entries=128)
def _points_at(
    url: str, study: str, number: int, weights: str, data_dir: str, places: tuple[Position, ...]
) -> tuple[OperatingPoint, ...]:
    seen = _replay(url, study, number, weights, data_dir)
    return tuple(seen.point(*place.setting) for place in places)


def raster(url: str, study: str, trial: Trial, number: int) -> ImageRaster:
    """Return all spikes of one validation image."""
    return _raster(*_name(url, study, trial), number)


@st.cache_resource(show_spinner=False, max_entries=32)
def _raster(
    url: str, study: str, trial: int, weights: str, data_dir: str, number: int
) -> ImageRaster:
    return _replay(url, study, trial, weights, data_dir).raster(number)


def exported_zip(url: str, study: str, trial: Trial, point: OperatingPoint) -> bytes:
    """Return any operating point of a network as a zip file, stored or not."""
    with Store(url, read_only=True) as store, tempfile.TemporaryDirectory() as scratch:
        stored = StoredPoint(
            id=0, trial=trial.number, params=trial.params, point=point, on_front=False
        )
        folder = Path(scratch) / f"{study}-{trial.number}"
        export_point(store, study, stored, folder, data_dir=downloads.data_dir())
        return downloads.zipped(folder)


@st.cache_resource(show_spinner=False, max_entries=8)
def _front(url: str, study: str, version: str) -> tuple[OperatingPoint, ...]:
    stored = open_store(url).operating_points(study, front_only=True)
    return tuple(each.point for each in stored)


def front_of(url: str, study: str) -> tuple[OperatingPoint, ...]:
    """Return the operating points of the study's front."""
    return _front(url, study, open_store(url).version(study))
