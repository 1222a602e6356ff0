"""Settings that exclude each other are refused by name, with the setting to use instead."""

from typing import Any

import pytest

from snn.rules import TIME_RULES
from snn.settings.config import ConfigError, RunConfig
from snn.settings.rule_conflicts import STEP_RULES

FORWARD = ("ottt-a", "ottt-o", "saf-e", "saf-f", "dsr")
SPIKE_BP = {"time_rule": "spike-bp", "reset": "hard", "leak": 0.9}
BATCH_NORM = {"norm": "batch-over-time"}
BACK = {"feedback": "last-to-first"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    *(({"time_rule": rule, "reset": "hard"}, "reset .* use 'soft'") for rule in FORWARD),
    *(({"time_rule": rule, **BATCH_NORM}, "norm .* use 'weight-standardised'") for rule in FORWARD),
    *(({"time_rule": rule, "pooling": "spiking"}, "pooling .* use 'average'") for rule in FORWARD),
    *(
        ({"time_rule": rule, "precision": "bfloat16"}, f"precision .*{rule}.* use 'float32'")
        for rule in ("dsr", "conversion", "membrane-trace")
    ),
    *(
        (
            {"time_rule": rule, "precision": "bfloat16", "leak": leak, "timesteps": steps},
            f"precision .*{rule}.*rounds .* use 'float32'",
        )
        for rule in ("saf-e", "saf-f")
        for leak, steps in ((1.0, 17), (0.95, 100))
    ),
    *(
        ({"time_rule": rule, "neuron": "learned"}, "neuron 'learned' .* use 'fixed'")
        for rule in TIME_RULES
        if rule != "bptt"
    ),
    *(
        ({"time_rule": rule, "neuron": neuron}, f"neuron '{neuron}' .*'{rule}'.* use '")
        for neuron in ("leaks", "individual")
        for rule in TIME_RULES
        if rule != "bptt"
    ),
    (
        {"time_rule": "saf-f", "neuron": "individual"},
        "which needs the same leak .* use 'thresholds', or time_rule 'bptt'",
    ),
    *(
        ({"adaptation": 0.5, "neuron": neuron}, f"adaptation must be 0 with neuron '{neuron}'")
        for neuron in ("leaks", "individual")
    ),
    ({"backbone": "resnet11", "neuron": "individual"}, "skips without weights.*use 'leaks'"),
    *(
        (
            {"neuron": "leaks", "leak": leak, "leak_spread": 2.0},
            f"leak_spread has no effect with leak {leak:g}, .* got 2; use another leak",
        )
        for leak in (0.0, 1.0)
    ),
    *(
        ({"time_rule": rule, "readout": "spiking"}, "readout 'spiking' .* use 'integrator'")
        for rule in ("spike-bp", "saf-e", "saf-f", "dsr")
    ),
    *(
        ({"time_rule": rule, "loss": loss}, "loss .* use 'instantaneous'")
        for rule in ("ottt-a", "ottt-o", "saf-e")
        for loss in ("mean-readout", "squared-error")
    ),
    ({"time_rule": "dsr", "pooling": "max"}, "use 'average'"),
    ({"time_rule": "dsr", "loss": "squared-error"}, "must be 'mean-readout'"),
    ({"time_rule": "dsr", "readout_leak": 0.9}, "must be 1 with time_rule 'dsr'"),
    ({**SPIKE_BP, "reset": "soft"}, "use 'hard'"),
    ({**SPIKE_BP, "leak": 0.3}, r"above 1/e .* got 0\.3"),
    ({**SPIKE_BP, "loss": "each-step"}, "use 'squared-error'"),
    ({**BACK, **BATCH_NORM}, "with feedback.*use 'weight-standardised'"),
    ({**BACK, "time_rule": "dsr"}, "feedback .* use 'none'"),
    ({**BACK, **SPIKE_BP}, "feedback .* use 'none'"),
    (
        {"firing_share": 0.5, "reset": "hard"},
        r"firing_share .* 'hard'.* got 0\.5",
    ),
    *(
        (
            {"time_rule": rule, name: 0.5, **(SPIKE_BP if rule == "spike-bp" else {})},
            f"{name} must be 0 with time_rule '{rule}'.* use time_rule 'bptt'",
        )
        for name in ("synaptic_leak", "adaptation")
        for rule in TIME_RULES
        if rule not in ("bptt", *STEP_RULES)
    ),
    *(
        ({"time_rule": rule, "delays": kind}, f"delays '{kind}' .*'{rule}'.* or time_rule 'bptt'")
        for rule in TIME_RULES
        for kind in ("axons", "connections")
        if rule not in ("bptt", "spike-bp")
    ),
    *(
        ({"time_rule": rule, "recurrence": "1x1"}, f"recurrence '1x1' .*'{rule}'.* or time_rule")
        for rule in ("spike-bp", "dsr", "conversion", "spike-time", "stdp", "membrane-trace")
    ),
    ({"adaptation": 0.5, "neuron": "learned"}, "adaptation must be 0 .* use neuron 'fixed' or"),
    ({"micro_batch": 4, "time_rule": "ottt-o"}, "use a smaller batch_size"),
    ({"micro_batch": 4, **BATCH_NORM}, "use norm 'weight-standardised'"),
    ({"memory_limit_mb": 4}, "use memory_mode 'auto'"),
    ({"memory_mode": "packed", "time_rule": "saf-e"}, "use 'full'"),
    ({"memory_mode": "checkpointed", **BATCH_NORM}, "use memory_mode 'packed'"),
    ({"batch_size": 1, **BATCH_NORM}, "batch_size must be at least 2 with norm 'batch-over-time'"),
    ({"train_images": 1, **BATCH_NORM}, "train_images must be at least 2 with norm"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=lambda part: str(part))
def test_settings_that_exclude_each_other_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**values)


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"leak": 1.0, "timesteps": 16}, {"leak": 1.0, "timesteps": 17}),
        (
            {"leak": 0.5, "synaptic_leak": 0.87, "timesteps": 50},
            {"leak": 0.5, "synaptic_leak": 0.88, "timesteps": 50},
        ),
    ],
)
def test_saf_accumulates_at_most_sixteen_spikes_in_half_precision(
    values: dict[str, Any], refused: dict[str, Any]
) -> None:
    half = {"time_rule": "saf-e", "precision": "bfloat16"}
    RunConfig(**half, **values)
    with pytest.raises(ConfigError, match="rounds to eighths of a spike above 16; use 'float32'"):
        RunConfig(**half, **refused)
