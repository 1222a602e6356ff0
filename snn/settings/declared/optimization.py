"""Timesteps, memory, precision, optimizer and loss."""

from dataclasses import dataclass

from snn.settings.declared.time_rules import SURROGATE_RULES
from snn.settings.setting import choice, fraction, integer, real

PRECISIONS = ("float32", "bfloat16", "auto")
MEMORY_MODES = ("full", "packed", "checkpointed", "auto")


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """Timesteps, memory, precision, optimizer and loss."""

    timesteps: int = integer(
        4, "timesteps in training, and at most at inference", low=1, high=1_000_000
    )
    memory_mode: str = choice(
        "full",
        MEMORY_MODES,
        "what bptt stores for the backward pass: everything (full), spikes as bits (packed), or "
        "membrane states only, with the timesteps between recomputed (checkpointed: activation "
        "checkpointing); auto takes the first that fits memory_limit_mb",
        earlier={"chunked": "checkpointed"},
    )
    micro_batch: int = integer(
        0,
        "images of a batch that run through the network together, the others after them; fewer "
        "need less memory. 0 = all; on a CPU at most a number that its memory serves well",
        low=0,
    )
    memory_limit_mb: int = integer(
        0, "limit of training memory for memory_mode auto, megabytes; 0 = no limit", low=0
    )

    precision: str = choice(
        "float32",
        PRECISIONS,
        "number type in which training maps spikes to currents; weights, potentials, the image's "
        "current and all evaluation stay in float32. auto: bfloat16 where the processor has "
        "AVX512-BF16 or AMX, or the GPU has it, else float32; what was chosen is recorded",
    )

    epochs: int = integer(10, "passes over the training images, for each block", low=1)
    batch_size: int = integer(64, "images per optimizer step", low=1)
    optimizer: str = choice("adam", ("adam", "sgd"), "optimizer; sgd has momentum 0.9")
    learning_rate: float = real(1e-2, "peak learning rate", low=0, open_low=True, high=1000)
    schedule: str = choice("cosine", ("cosine", "constant"), "learning rate over the training")
    weight_decay: float = real(
        0.0, "decoupled weight decay, of existing connections only", low=0, high=1000
    )
    weight_norm_penalty: float = real(
        0.0,
        "weight of a penalty that keeps the squared norm of each neuron's weights near 2, its mean "
        "at the start: it grows by e^10 when the norm doubles. 0 = none",
        low=0,
        high=1,
        without=0.0,
    )
    loss: str = choice(
        "",
        ("mean-readout", "each-step", "instantaneous", "squared-error"),
        "training loss: cross-entropy of the mean output over all timesteps (mean-readout), of "
        "the mean up to each timestep (each-step), or of each timestep's output (instantaneous); "
        "or summed squared distance of the mean output from the one-hot label (squared-error)",
    )
    screen: float = fraction(
        0.0,
        "share of silent neurons in the worst layer of the random network, on one batch, from "
        "which a network is not trained and counts as infeasible; of blocks trained one after "
        "another the first is judged. 0 = every network is trained",
        without=0.0,
        only_with=SURROGATE_RULES,
    )
    seed: int = integer(0, "seed of all random numbers", low=0, high=2**63 - 1)
