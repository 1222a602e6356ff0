"""NeuroBench's figures of a network under the names that studies know."""

from collections.abc import Sequence
from typing import Any

from search.text.requirements import is_there, needs

ALSO = {  # what a study declares to report all of them
    "activation_sparsity": {
        "better": "higher",
        "meaning": "fraction of the outputs of neurons that are zero, over time and images",
    },
    "footprint_bytes": {
        "better": "lower",
        "unit": "B",
        "meaning": "bytes of all parameters and buffers",
    },
}


def neurobench_metrics(
    network: Any, loader: Any, *, neurons: Sequence[type] = (), every: bool = False
) -> dict[str, float]:
    """Return what NeuroBench measures of a torch module on the batches of a DataLoader.

    `synaptic_ops` (its Effective_ACs), `macs` (Effective_MACs), `connectivity`
    (1 - ConnectionSparsity) and `parameters`, per image; they need no `[metrics]`. With `every`
    also `activation_sparsity` and `footprint_bytes`, which a study declares as in
    `search.neurobench.ALSO`. `neurons` are classes of spiking neurons that NeuroBench does not
    know. The module takes a batch and resets its state itself. Definitions: Yik et al. 2025,
    neurobench 2.3. Raises ValueError for parametrised weights, whose counts it gets wrong.
    """
    if not is_there("neurobench"):
        raise ImportError(f"neurobench_metrics {needs('neurobench')}", name="neurobench")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    baked = [
        name for name, module in network.named_modules() if hasattr(module, "parametrizations")
    ]
    if baked:
        raise ValueError(
            f"{baked[0]} has parametrised weights, which NeuroBench counts wrongly; write the "
            "effective weights into plain layers first (torch.nn.utils.parametrize."
            "remove_parametrizations)"
        )
    was_training = network.training
    model = TorchModel(network)
    for kind in neurons:
        model.add_activation_module(kind)
    static = [ConnectionSparsity, Footprint, ParameterCount]
    workload = [SynapticOperations, *([ActivationSparsity] if every else [])]
    found = Benchmark(model, loader, [], [], [static, workload]).run(quiet=True)
    model.cleanup_hooks()
    network.train(was_training)
    operations = found["SynapticOperations"]
    figures = {
        "synaptic_ops": float(operations["Effective_ACs"]),
        "macs": float(operations["Effective_MACs"]),
        "connectivity": 1.0 - float(found["ConnectionSparsity"]),
        "parameters": float(found["ParameterCount"]),
    }
    if every:
        figures["activation_sparsity"] = float(found["ActivationSparsity"])
        figures["footprint_bytes"] = float(found["Footprint"])
    return figures
