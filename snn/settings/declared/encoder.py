"""A spiking encoder and its decoder: the price of a code, and who reads it."""

from dataclasses import dataclass

from snn.settings.setting import choice, integer, real

ENCODING = {"time_rule": ("encoder",)}


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """A spiking encoder and its decoder: the price of a code, and who reads it."""

    code_price: float = real(
        0.01,
        "price of a bit of the code in bits of distortion, with time_rule encoder: beta of the "
        "information bottleneck",
        low=0,
        high=1e6,
        without=0.01,
        only_with=ENCODING,
    )
    code_rate: float = real(
        0.3,
        "spikes per code neuron and timestep that cost nothing: the reference rate of the code",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
        without=0.3,
        only_with=ENCODING,
    )
    code_feedback: str = choice(
        "symmetric",
        ("symmetric", "random"),
        "how the error of the code neurons comes back to hidden layers: through the weights, layer "
        "by layer (symmetric), or from the code neurons to each through fixed random numbers "
        "(random)",
        without="symmetric",
        only_with=ENCODING,
    )
    decoder: str = choice(
        "time",
        ("time", "rate"),
        "what the decoder reads of the code: each spike at its timestep (time), or how many spikes "
        "each neuron fired (rate)",
        without="time",
        only_with=ENCODING,
    )
    decoder_hidden: int = integer(
        0,
        "hidden units of the decoder, rectified; 0 = it is linear",
        low=0,
        high=65_536,
        without=0,
        only_with=ENCODING,
    )
    decoder_target: str = choice(
        "class",
        ("class", "image"),
        "what the decoder answers: the class, or the pixels of the image, in which a linear "
        "classifier then finds the class",
        without="class",
        only_with=ENCODING,
    )
