"""Binning: every event of the clip is in exactly one bin, and nothing else is in the frames."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn.data.events import binning
from snn.data.events.binning import Cut, bins, frames
from snn.data.events.series import send_on_delta
from snn.data.events.store import Part

SHAPE = (2, 5, 3)
CUT = Cut(
    timesteps=4, binning="window", clip_us=1000, event_value="counts", polarity="two", shrink=1
)
TIMES = st.lists(st.integers(0, 1500), max_size=30).map(sorted)
RECORDINGS = st.lists(TIMES, min_size=1, max_size=4)
CUTS = st.builds(
    Cut,
    timesteps=st.integers(1, 9),
    binning=st.sampled_from(["window", "whole", "count"]),
    clip_us=st.integers(1, 1600),
    event_value=st.just("counts"),
    polarity=st.sampled_from(["two", "merged"]),
    shrink=st.integers(1, 4),
)


def joined(recordings: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, places (spread over the sensor) and counts of recordings."""
    time = np.array([t for times in recordings for t in times], np.int64)
    place = np.arange(len(time)) * 7 % 30
    return time, place, np.array([len(times) for times in recordings], np.int64)


def expected(times: list[int], cut: Cut) -> list[int]:
    """The rule in fractions, event by event."""
    inside = [t for t in times if t <= cut.clip_us]
    found = []
    for rank, t in enumerate(times):
        if t > cut.clip_us:
            found.append(-1)
        elif cut.binning == "count":
            found.append(rank * cut.timesteps // len(inside))
        else:
            start = 0 if cut.binning == "window" else inside[0]
            length = cut.clip_us if cut.binning == "window" else max(inside[-1] - start, 1)
            share = Fraction(t - start, length) * cut.timesteps
            found.append(min(int(share), cut.timesteps - 1))
    return found


@given(recordings=RECORDINGS, cut=CUTS)
def test_every_event_of_the_clip_is_in_exactly_one_bin(
    recordings: list[list[int]], cut: Cut
) -> None:
    time, place, counts = joined(recordings)
    found = bins(time, counts, cut)
    assert found.tolist() == [b for times in recordings for b in expected(times, cut)]
    assert found.max(initial=0) < cut.timesteps
    made = frames(time, place, counts, SHAPE, cut)
    assert made.sum() == (time <= cut.clip_us).sum()


@pytest.mark.skipif(binning._library() is None, reason="there is no C compiler")
@given(recordings=RECORDINGS, cut=CUTS, value=st.sampled_from(["binary", "counts"]))
def test_the_compiled_body_makes_the_same_frames(
    recordings: list[list[int]], cut: Cut, value: str
) -> None:
    """Of any recordings of a store, in any order."""
    time, place, counts = joined(recordings)
    start = (np.cumsum(counts) - counts)[::-1]
    given = (counts[::-1], SHAPE, replace(cut, event_value=value), start)
    compiled = frames(time.astype(np.uint32), place.astype(np.uint32), *given)
    assert np.array_equal(compiled, frames(time, place, *given))
    none = np.zeros(1, np.uint32)
    with pytest.raises(IndexError, match="outside of the sensor"):
        frames(none, none + 30, np.array([1]), SHAPE, cut)


@given(recordings=RECORDINGS, cut=CUTS)
def test_values_and_polarities_agree_with_one_another(
    recordings: list[list[int]], cut: Cut
) -> None:
    time, place, counts = joined(recordings)
    cut = replace(cut, polarity="two")

    def made(**changes: str) -> np.ndarray:
        found = frames(time, place, counts, SHAPE, replace(cut, **changes))  # type: ignore[arg-type]
        return found.astype(np.int64)

    two = made()
    off, on = two[:, :, :1], two[:, :, 1:]
    assert np.array_equal(made(event_value="binary"), np.minimum(two, 1))
    assert np.array_equal(made(polarity="merged"), off + on)
    assert np.array_equal(made(polarity="merged", event_value="binary"), (off + on).clip(0, 1))
    assert np.array_equal(made(polarity="signed", event_value="binary"), np.sign(on - off))


@given(recordings=RECORDINGS, cut=CUTS)
def test_shrinking_sums_windows_and_keeps_every_event(
    recordings: list[list[int]], cut: Cut
) -> None:
    time, place, counts = joined(recordings)
    full = frames(time, place, counts, SHAPE, replace(cut, shrink=1)).astype(np.int64)
    small = frames(time, place, counts, SHAPE, cut)
    side = cut.shrink
    for y in range(small.shape[3]):
        for x in range(small.shape[4]):
            window = full[..., side * y : side * (y + 1), side * x : side * (x + 1)]
            assert np.array_equal(small[..., y, x], window.sum(axis=(-1, -2)))


@given(times=TIMES, steps=st.integers(1, 8))
def test_the_first_bins_of_a_window_are_those_of_the_cut_recording(
    times: list[int], steps: int
) -> None:
    """An answer after t timesteps has seen t bins and nothing later."""
    cut = replace(CUT, timesteps=steps, clip_us=1000 * steps)
    time, place, counts = joined([times])
    whole = frames(time, place, counts, SHAPE, cut)
    for seen in range(1, steps):
        early = time < 1000 * seen
        kept = np.array([early.sum()])
        part = frames(time[early], place[early], kept, SHAPE, cut)
        assert np.array_equal(
            whole[:, : seen if seen < steps else 0], part[:, : seen if seen < steps else 0]
        )


@pytest.mark.parametrize(
    ("kind", "times", "found"),
    [
        ("window", [0, 249, 250, 999, 1000, 1001], [0, 0, 1, 3, 3, -1]),
        ("whole", [100, 199, 200, 500], [0, 0, 1, 3]),
        ("whole", [700], [0]),
        ("whole", [700, 700], [0, 0]),
        ("count", [1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 1, 2, 2, 3, 3]),
        ("count", [1, 2, 2000], [0, 2, -1]),
        ("window", [], []),
        ("whole", [], []),
        ("count", [], []),
    ],
)
def test_hand_made_events_are_in_their_bins(kind: str, times: list[int], found: list[int]) -> None:
    cut = replace(CUT, binning=kind)
    counts = np.array([len(times)], np.int64)
    assert bins(np.array(times, np.int64), counts, cut).tolist() == found


@pytest.mark.parametrize("dtype", [np.int64, np.uint32])
def test_counts_end_at_255(dtype: type) -> None:
    time = np.zeros(300, dtype)
    made = frames(time, time, np.array([300]), SHAPE, CUT)
    assert (made.max(), made.dtype) == (255, np.uint8)


def test_an_event_is_sent_for_each_threshold_that_a_value_moves() -> None:
    values = np.array([[0.0, 5], [1.0, 5], [3.5, 5], [3.4, 2], [0, 0], [1, 0]], np.float32)
    part = Part(
        start=np.array([0, 4, 6]),
        time=np.empty(0, np.uint32),
        place=np.empty(0, np.uint32),
        value=values,
        label=np.array([0, 1]),
        group=np.array([-1, -1]),
    )
    sent = send_on_delta(part, 1.0, 10.0)
    assert sent.start.tolist() == [0, 6, 7]
    assert sent.time.tolist() == [10, 20, 20, 30, 30, 30, 10]
    assert sent.place.tolist() == [2, 2, 2, 1, 1, 1, 2]
