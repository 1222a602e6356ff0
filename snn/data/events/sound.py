"""Sound to spikes: a small deterministic cochlea for spoken digits. It is simulated.

The loudest sample is 1. Frames of 32 ms every 5 ms (Hann) give the energy E of 64 triangular
bands, spaced logarithmically from 100 to 3,800 Hz; log(1 + 100 E) / 5 drives a leaky
integrate-and-fire neuron per band (leak 0.8, threshold 1.5, soft reset), whose spikes are events.
"""

import functools
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Events, events_of
from snn.data.image_files import DataError

RATE, FRAME, HOP, BANDS = 8000, 256, 40, 64
LOWEST_HZ, HIGHEST_HZ = 100.0, 3800.0
LEAK, THRESHOLD = 0.8, 1.5


def wav(path: Path) -> Events:
    """Return the spikes of a .wav file: 8 kHz, mono, 16 bits. Raises DataError."""
    try:
        with wave.open(str(path)) as file:
            form = file.getframerate(), file.getnchannels(), 8 * file.getsampwidth()
            announced, data = file.getnframes(), file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{path}: is no .wav file of samples ({error})") from None
    if form != (RATE, 1, 16):
        got = f"{form[0]} Hz, {form[1]} channels, {form[2]} bits"
        raise DataError(f"{path}: must be 8000 Hz, 1 channel, 16 bits, got {got}")
    if len(data) != 2 * announced:
        raise DataError(
            f"{path}: must have {announced} samples as its header says, got {len(data) // 2}; "
            "the file was cut short"
        )
    return spikes(np.frombuffer(data, "<i2").astype(np.float64))


def spikes(sound: npt.NDArray[np.float64]) -> Events:
    """Return the spikes of a sound, in microseconds; the band is the row."""
    sound = sound / max(float(np.abs(sound).max(initial=0)), 1.0)
    sound = np.pad(sound, (0, max(FRAME - len(sound), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)) ** 2
    drive = np.log1p(100 * (power @ _bands())) / 5
    potential, fired = np.zeros(BANDS), np.zeros(drive.shape, bool)
    for step, current in enumerate(drive):
        potential = LEAK * potential + current
        fired[step] = potential >= THRESHOLD
        potential -= THRESHOLD * fired[step]
    frame, band = np.nonzero(fired)
    none = np.zeros_like(frame)
    return events_of(frame * (HOP * 1_000_000 // RATE), none, band, none)


@functools.cache
def _bands() -> npt.NDArray[np.float64]:
    """Return triangular filters, (frequencies, bands)."""
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 2)
    hertz = np.arange(FRAME // 2 + 1) * RATE / FRAME
    rise = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    filters: npt.NDArray[np.float64] = np.clip(np.minimum(rise, fall), 0, None)
    return filters
