"""Training memory: what is kept for backward in each mode, planned and counted.

1. The network of benchmarks/engines.py at T = 32 in our memory modes, against
   SpikingJelly's bytes and the fastest eager peer's time.
2. Rules that run forward in time: bytes from T = 2 to 32, SAF against OTTT.
3. Block-local against end-to-end training: ResNet-9 at width 64 with BlocTrain's
   three blocks 2+1+1 (Srinivasan & Roy 2021, who report up to 2.95 times less),
   32x32 colour images, batch 64, T = 10, Adam. Counted are weights, gradients,
   both moments and every tensor kept for the backward pass.
4. Planned against counted bytes, and the planned peak against what torch's
   allocator says, for training steps on 28x28 images. (Below a few MB what torch's
   convolutions take and free inside themselves shows: 1 to 4 MB on 8x8 images.)
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.engine import ALLOCATORS, MAPPED, PEERS, Timing, Worker, WorkerError
from benchmarks.engines import ENGINES, MODES, Engine
from benchmarks.forward_rules import PUBLISHED_NETWORK, needs, time_rules
from benchmarks.report import Figure, Report, arguments
from search.worker.engine import plan
from snn.network.blocks import build_block
from snn.network.cost import SavedBytes
from snn.network.layers import ForwardContext
from snn.network.network import Network, Task, input_signal
from snn.rules import Batch, learn
from snn.settings.config import DATASETS, RunConfig
from snn.training.plan import LiveBytes, stage_memory

RESNET9 = RunConfig(
    dataset="cifar10",
    backbone="resnet9",
    width=64,
    head_hidden=1024,
    partition="2+1+1",
    timesteps=10,
    micro_batch=64,
)
STEPS = 32
CHOSEN = "ours-parts-of-4"
PLANNED: dict[
    str, dict[str, Any]
] = {  # settings of a training step, whose plan is held against what is counted
    "full": {},
    "packed": {"memory_mode": "packed"},
    "checkpointed": {"memory_mode": "checkpointed", "timesteps": 8},
    "parts": {"micro_batch": 16},
    "vgg": {"backbone": "vgg5"},
    "dropout, sparse": {"dropout": 0.1, "target_sparsity": 0.9},
    "poisson": {"encoding": "poisson"},
    "spike-bp": {"time_rule": "spike-bp", "reset": "hard"},
    "ottt-o": {"time_rule": "ottt-o"},
    "saf-e": {"time_rule": "saf-e"},
    "saf-f": {"time_rule": "saf-f"},
    "dsr": {"time_rule": "dsr"},
}


def against_peers(report: Report, *, quick: bool) -> None:
    """Bytes kept and time, ours in every mode and eager peers."""
    peers = [
        engine
        for engine in ENGINES.values()
        if engine.is_peer and not engine.is_compiled and engine.is_installed
    ]
    engines = [ENGINES["ours"], *MODES.values(), *peers]
    steps = 8 if quick else STEPS
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        saved = {engine.name: _saved(engine, steps, cache) for engine in engines}
        seconds = _seconds(engines, steps, cache, rounds=1 if quick else 3)
    report.line(f"T = {steps}: kept for backward, forward and backward")
    for engine in engines:
        kept, took = saved[engine.name] / 2**20, 1000 * seconds[engine.name]
        report.line(f"  {engine.name:<20} {kept:7.1f} MiB {took:7.0f} ms")
    jelly = [saved[peer.name] for peer in peers if peer.library == "spikingjelly"]
    if not jelly:
        report.line("SpikingJelly is not installed: nothing to compare with")
        return
    report.add(
        Figure(
            name=f"saved_vs_spikingjelly_T{steps}",
            value=saved[CHOSEN] / min(jelly),
            unit="",
            better="lower",
            aim=1 / 9,
        )
    )
    report.add(
        Figure(
            name=f"time_at_that_memory_vs_fastest_eager_peer_T{steps}",
            value=seconds[CHOSEN] / min(seconds[peer.name] for peer in peers),
            unit="",
            better="lower",
            aim=0.75,
        )
    )


def _saved(engine: Engine, steps: int, cache: Path) -> float:
    worker = Worker(engine, steps, MAPPED, cache)
    worker.ask("warm", iterations=1)
    kept = worker.ask("memory")["saved"]
    worker.close()
    return float(kept)


def _seconds(
    engines: Sequence[Engine], steps: int, cache: Path, *, rounds: int
) -> dict[str, float]:
    """Best iterations, the engines taking turns; the better of two allocators for each.

    One process at a time: at T = 32 each holds gigabytes, and all of them together
    were more than a machine of 24 GB has.
    """
    best: dict[str, dict[str, list[Timing]]] = {engine.name: {} for engine in engines}
    for _ in range(rounds):
        for engine in engines:
            tried = best[engine.name]
            faster = sorted(tried, key=lambda name: min(t.best for t in tried[name]))
            for allocator in faster[:1] or ALLOCATORS:
                timing = _timed(engine, allocator, steps, cache)
                if timing is not None:
                    tried.setdefault(allocator, []).append(timing)
    return {
        name: min(timing.best for timings in tried.values() for timing in timings)
        for name, tried in best.items()
        if tried
    }


def _timed(engine: Engine, allocator: str, steps: int, cache: Path) -> Timing | None:
    """One process from its start to its end; None where it cannot."""
    try:
        worker = Worker(engine, steps, ALLOCATORS[allocator], cache)
        timing = Timing(engine, allocator, worker, worker.ask("warm", iterations=1)["seconds"])
        timing.measure(3)
    except WorkerError:
        return None
    worker.close()
    return timing


def forward_rules(report: Report, *, quick: bool) -> None:
    """Memory over timesteps, and the rules against each other."""
    kept = {
        steps: plan(RunConfig(time_rule="saf-e", timesteps=steps)).stages[0].kept
        for steps in (2, 32)
    }
    report.add(
        Figure(
            name="online_growth_T2_to_T32",
            value=kept[32] / kept[2],
            unit="",
            better="lower",
            aim=1.0,
        )
    )
    bytes_of = {rule: need.training_memory_bytes for rule, need in needs().items()}
    report.line("VGG-11, batch 128, T = 6: training memory")
    for rule, size in bytes_of.items():
        report.line(f"  {rule:<8} {size / 1e6:7.0f} MB")
    report.add(
        Figure(
            name="saf_vs_ottt_memory",
            value=bytes_of["saf-e"] / bytes_of["ottt-o"],
            unit="",
            better="lower",
            aim=0.72,
        )
    )
    _against_ottt_of_spikingjelly(report)
    timed = time_rules(rounds=2 if quick else 5)
    for rule in timed.turns:
        report.line(f"  {rule:<8} {1000 * timed.best(rule):7.0f} ms a step at width 16, batch 32")
    for name, ours, theirs, aim in (
        ("saf_f_vs_ottt_time", "saf-f", "ottt-a", 0.4),
        ("saf_e_vs_ottt_time", "saf-e", "ottt-o", None),
    ):
        value = timed.ratio(ours, theirs)
        report.add(Figure(name=name, value=value, unit="", better="lower", aim=aim))


def _against_ottt_of_spikingjelly(report: Report) -> None:
    """Bytes alive at once per image: SAF-E here, and OTTT as SpikingJelly has it."""
    if not any(e.library == "spikingjelly" and e.is_installed for e in ENGINES.values()):
        return
    sizes = (4, 8)
    theirs = [spikingjelly_ottt_peak(size) for size in sizes]
    ours = [
        plan(PUBLISHED_NETWORK.replace(time_rule="saf-e", batch_size=size)).stages[0].peak
        for size in sizes
    ]
    each = [(peaks[1] - peaks[0]) / (sizes[1] - sizes[0]) for peaks in (ours, theirs)]
    report.line(
        f"alive at once per image: saf-e {each[0] / 1e6:.2f} MB, "
        f"OTTT of SpikingJelly {each[1] / 1e6:.2f} MB"
    )
    report.add(
        Figure(
            name="saf_vs_spikingjelly_ottt_memory",
            value=each[0] / each[1],
            unit="",
            better="lower",
            aim=0.72,
        )
    )


def spikingjelly_ottt_peak(images: int) -> int:
    """Bytes alive at once while SpikingJelly's VGG-11 WS learns from two timesteps, after each."""
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based.model.spiking_vggws_ottt import ottt_spiking_vggws

    net = ottt_spiking_vggws(num_classes=10, tau=2.0, decay_input=False, v_threshold=1.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    drive = torch.randn(2, images, 3, 32, 32)
    labels = torch.zeros(images, dtype=torch.int64)
    with LiveBytes([*net.parameters(), *net.buffers(), drive, labels]) as alive:
        for x in drive.unbind(0):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
            functional.detach_net(net)
    return int(alive.peak)


def blocks(report: Report) -> None:
    """ResNet-9, by shapes alone."""
    whole = plan(RESNET9.replace(space_rule="end-to-end")).stages[0]
    parts = plan(RESNET9).stages
    report.line(f"end-to-end {whole.training_memory_bytes / 1e6:.0f} MB")
    report.line(
        f"block-local {', '.join(f'{p.training_memory_bytes / 1e6:.0f}' for p in parts)} MB"
    )
    each = [part.training_memory_bytes for part in parts]
    total = whole.training_memory_bytes
    for name, value, aim in (
        ("block_local_saving_resnet9", total / max(each), 2.95),
        ("block_local_saving_resnet9_mean_block", total * len(each) / sum(each), None),
        ("block_local_saving_resnet9_kept_mean_block",
         whole.kept * len(parts) / sum(part.kept for part in parts), None),
    ):  # fmt: skip
        report.add(Figure(name=name, value=value, unit="times", better="higher", aim=aim))


def planner(report: Report) -> None:
    """The largest error of the plan, of what is kept and of the peak."""
    kept_errors, peak_errors = {}, {}
    for name, settings in PLANNED.items():
        values = {"dataset": "mnist", "width": 32, "timesteps": 4, **settings}
        config = RunConfig(**values)
        kept, peak, planned_kept, planned_peak = _step(config)
        kept_errors[name] = abs(planned_kept / kept - 1)
        peak_errors[name] = abs(planned_peak / peak - 1)
        report.line(
            f"  {name:<16} kept {kept / 1e6:6.2f} MB, planned {planned_kept / 1e6:6.2f}; "
            f"peak {peak / 1e6:6.2f} MB, planned {planned_peak / 1e6:6.2f}"
        )
    for name, errors in (("planner_error", peak_errors), ("planner_error_kept", kept_errors)):
        report.add(Figure(name=name, value=max(errors.values()), unit="", better="lower", aim=0.05))


def _step(config: RunConfig) -> tuple[int, int, int, int]:
    """Of one training step on random images: kept, peak, and both as planned."""
    shape, classes = DATASETS[config.dataset]
    task = Task(image_shape=shape, classes=classes)
    network = Network(config, task)
    network.blocks.append(build_block(config, 0, input_signal(config, task), range(classes)))
    network.train()
    draws = torch.Generator().manual_seed(0)
    times = 1 if config.encoding == "direct" else config.timesteps
    batch = Batch(
        drive=torch.randn(times, config.batch_size, *shape, generator=draws),
        labels=torch.zeros(config.batch_size, dtype=torch.int64),
        frozen=0,
        timesteps=config.timesteps,
        loss=config.loss,
    )
    planned = stage_memory(config, task, [network.block(0)], frozen=0)
    with SavedBytes(list(network.parameters())) as saved:
        result = learn(network, batch, ForwardContext(), apply=lambda: None)
    kept = saved.peak + saved.unsaved_bytes(result.held)
    del result
    network.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        learn(network, batch, ForwardContext(), apply=lambda: None)
    standing = [*network.parameters(), *network.buffers(), batch.drive, batch.labels]
    before = sum(tensor.numel() * tensor.element_size() for tensor in standing)
    events = profiled.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    now = highest = 0
    for _, size in sorted(changes, key=lambda change: change[0]):
        now += size
        highest = max(highest, now)
    # the optimizer's state is planned but not part of this step
    state = planned.held - 2 * sum(p.numel() * p.element_size() for p in network.parameters())
    state -= sum(b.numel() * b.element_size() for b in network.buffers())
    return kept, before + highest, planned.kept, planned.peak - state


def main(argv: Sequence[str] | None = None) -> int:
    """Count, time, and print."""
    parser = arguments(__doc__.splitlines()[0])
    parts = ("peers", "forward", "blocks", "planner")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="only these")
    options = parser.parse_args(argv)
    installed = {engine.library for engine in ENGINES.values() if engine.is_installed}
    report = Report(
        "memory",
        against=("torch", *(peer for peer in PEERS if peer in installed)),
        setting={
            "quick": options.quick,
            "threads": torch.get_num_threads(),
            "parts": " ".join(options.parts),
        },
    )
    if "planner" in options.parts:
        planner(report)
    if "blocks" in options.parts:
        blocks(report)
    if "forward" in options.parts:
        forward_rules(report, quick=options.quick)
    if "peers" in options.parts:
        against_peers(report, quick=options.quick)
    report.show(as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
