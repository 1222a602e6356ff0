"""The learning rule over time, conversion, and the start of a training."""

from dataclasses import dataclass

from snn.settings.setting import choice, fraction, integer, real

SURROGATE_RULES = {"time_rule": ("bptt", "ottt-a", "ottt-o", "saf-e", "saf-f")}
SPIKING_RULES = {"time_rule": (*SURROGATE_RULES["time_rule"], "spike-bp", "membrane-trace", "dsr")}
CONVERTED = {"time_rule": ("conversion",)}
SIGNED_WEIGHTS = {"time_rule": (*SPIKING_RULES["time_rule"], "conversion")}  # at the start
TIMED = {"time_rule": ("spike-time",)}


@dataclass(frozen=True, kw_only=True)
class TimeRuleSettings:
    """The learning rule over time, conversion, and the start of a training."""

    time_rule: str = choice(
        "bptt",
        (
            "bptt",
            "spike-bp",
            "ottt-a",
            "ottt-o",
            "saf-e",
            "saf-f",
            "membrane-trace",
            "dsr",
            "conversion",
            "spike-time",
            "stdp",
            "encoder",
        ),
        "learning rule over time: backpropagation through time (bptt) or from spike to spike "
        "(spike-bp), forward in time with traces (ottt-a, ottt-o) or accumulated spikes (saf-e, "
        "saf-f; membrane-trace by the potentials of neurons that fired), gradients of mean rates "
        "(dsr), exact derivatives of the times of single spikes (spike-time), plasticity "
        "without labels (stdp), scores of neurons that fire at random, whose code a decoder reads "
        "(encoder), or none: a network without time is trained and converted (conversion)",
    )
    error_norm: str = choice(
        "none",
        ("none", "layer"),
        "normalisation of the errors of membrane-trace: none, or per layer and image by the "
        "neurons that fired and by the threshold (layer)",
        without="none",
        only_with={"time_rule": ("membrane-trace",)},
    )
    lateral_inhibition: float = fraction(
        0.0,
        "share of the threshold by which each spike lowers the potentials of the other neurons of "
        "its layer, with membrane-trace; dense layers only",
        open_high=True,
        without=0.0,
        only_with={"time_rule": ("membrane-trace",)},
    )
    rate_map: str = choice(
        "relu",
        ("relu", "rate-norm", "qcfs"),
        "activation that conversion trains with: ReLU (relu), ReLU over its running maximum, "
        "clipped at 1 (rate-norm), or ReLU clipped at a trained threshold and quantised (qcfs)",
        without="relu",
        only_with=CONVERTED,
    )
    calibration: str = choice(
        "percentile",
        ("max", "percentile", "spike-norm"),
        "threshold of each layer of a converted ReLU network: its largest activation on training "
        "images (max), a percentile of them (percentile), or the largest current of its neurons "
        "in the spiking network (spike-norm)",
        without="percentile",
        only_with={**CONVERTED, "rate_map": ("relu",)},
    )
    calibration_percentile: float = real(
        99.9,
        "percentile of the activations, for calibration percentile",
        low=0,
        high=100,
        open_low=True,
        without=99.9,
        only_with={**CONVERTED, "rate_map": ("relu",), "calibration": ("percentile",)},
    )
    quantisation_steps: int = integer(
        4,
        "levels above 0 of an activation of rate_map qcfs; exact at as many timesteps",
        low=1,
        high=65_536,
        without=4,
        only_with={**CONVERTED, "rate_map": ("qcfs",)},
    )
    rate_inference: float = real(
        0.0,
        "weight of the convergence time in the Rate Inference Loss, which chooses one factor for "
        "all thresholds after conversion; 0 = no factor",
        low=0,
        without=0.0,
        only_with=CONVERTED,
    )
    current_share: float = real(
        0.25,
        "time constant of the current that an input spike starts, as a share of timesteps",
        low=0.05,
        high=10,
        without=0.25,
        only_with=TIMED,
    )
    spike_kernel: str = choice(
        "mostafa",
        ("mostafa", "lif1", "lif2"),
        "potential of neurons that fire once: the current of each input is summed without leak "
        "(mostafa), or by a membrane with the time constant of the current (lif1) or with twice "
        "of it (lif2)",
        without="mostafa",
        only_with=TIMED,
    )
    silence_penalty: float = real(
        0.1,
        "loss per unit of weight that a neuron is short of its threshold with all inputs: such a "
        "neuron never fires and has no gradient",
        low=0,
        high=1000,
        without=0.1,
        only_with=TIMED,
    )
    start: str = choice(
        "random",
        ("random", "ann"),
        "weights and thresholds before the training: random weights and the setting threshold, or "
        "those of the same network trained without time for start_epochs, each layer's threshold "
        "a percentile of its activations (ann)",
        without="random",
        only_with=SPIKING_RULES,
    )
    start_epochs: int = integer(
        5,
        "epochs without time before the training; they do not count in a budget",
        low=1,
        without=5,
        only_with={**SPIKING_RULES, "start": ("ann",)},
    )
    start_percentile: float = real(
        99.7,
        "percentile of the activations of a layer that is its threshold at the start",
        low=0,
        high=100,
        open_low=True,
        without=99.7,
        only_with={**SPIKING_RULES, "start": ("ann",)},
    )
    start_scale: float = real(
        1.0,
        "factor of the thresholds at the start",
        low=0,
        open_low=True,
        high=100,
        without=1.0,
        only_with={**SPIKING_RULES, "start": ("ann",)},
    )
