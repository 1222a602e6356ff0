"""The engine benchmark: everybody computes the same, and the right iterations count."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import engine as benchmark
from benchmarks.engines import ENGINES, HALVES, Trainee, problem
from benchmarks.report import Report


@functools.cache
def learned(
    name: str, timesteps: int, dtype: torch.dtype = torch.float64
) -> tuple[float, tuple[Tensor, ...]]:
    """Loss and gradients."""
    engine = ENGINES[name]
    if not engine.is_installed:
        pytest.skip(f"{engine.library} is not installed: make setup")
    given = problem(timesteps, dtype=dtype)
    trainee: Trainee = engine.build(given)
    assert [tuple(p.shape) for p in trainee.parameters] == [
        (32, 2, 3, 3), (32,), (64, 32, 3, 3), (64,), (10, 12544), (10,),
    ]  # fmt: skip
    loss = float(trainee.learn(given.drive, given.labels))
    grads = [p.grad for p in trainee.parameters]
    return loss, tuple(grad for grad in grads if grad is not None)


@pytest.mark.parametrize("name", ["spikingjelly-s", "spikingjelly-m"])
def test_ours_learns_what_spikingjelly_learns(name: str) -> None:
    (loss, grads), (their_loss, theirs) = learned("ours", 3), learned(name, 3)
    assert loss == pytest.approx(their_loss, rel=1e-13)
    for ours, other in zip(grads, theirs, strict=True):
        assert (ours - other).abs().max() < 1e-10 * other.abs().max()


def test_norse_has_our_loss() -> None:
    """Its reset is ours once its weights are doubled; its surrogate is another."""
    (loss, grads), (their_loss, theirs) = learned("ours", 3), learned("norse", 3)
    assert loss == pytest.approx(their_loss, rel=1e-12)
    assert not torch.allclose(grads[0], theirs[0], rtol=1e-3)


def test_snntorch_does_the_same_work_with_other_numbers() -> None:
    loss, grads = learned("snntorch", 3, torch.float32)  # its spikes are always that
    assert loss != pytest.approx(learned("ours", 3)[0], rel=1e-6)
    assert all(grad.abs().max() > 0 for grad in grads)


def test_a_second_pass_learns_the_same() -> None:
    """No engine keeps anything of a batch."""
    for name in ("ours", "spikingjelly-s", "snntorch", "norse"):
        if not ENGINES[name].is_installed:
            continue
        given = problem(2)
        trainee = ENGINES[name].build(given)
        first, second = (float(trainee.learn(given.drive, given.labels)) for _ in range(2))
        assert first == second, name


EAGER = [name for name, engine in HALVES.items() if not engine.is_compiled]


@pytest.mark.parametrize("name", EAGER)
def test_half_precision_learns_what_single_precision_learns(name: str) -> None:
    engine = HALVES[name]
    if not engine.is_installed:
        pytest.skip(f"{engine.library} is not installed: make setup")
    given = problem(2)
    single, half = ENGINES[name.removesuffix("-bfloat16")].build(given), engine.build(given)
    losses = [float(trainee.learn(given.drive, given.labels)) for trainee in (single, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    for mine, other in zip(single.parameters, half.parameters, strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.cosine_similarity(mine.grad.flatten(), other.grad.flatten(), dim=0) > 0.9


def test_figures_of_half_precision_compare_with_single_and_with_halved_peers() -> None:
    timings = [
        timing("ours", (0.8, None)),
        halved("ours-bfloat16", 0.4),
        halved("norse-bfloat16", 1.0),
        halved("snntorch-compiled-bfloat16", 0.5),
    ]
    report = Report("engine", against=())
    benchmark.report_half(timings, 8, report)
    assert {figure.name: figure.value for figure in report.figures} == {
        "bfloat16_vs_float32_T8": 0.5,
        "bfloat16_vs_fastest_peer_bfloat16_T8": 0.8,
    }
    assert benchmark.contenders(timings)[:2] == timings[:2]


class Deaf:
    """A worker that nobody waits for."""

    def close(self) -> None: ...


def timing(name: str, *passes: tuple[float, float | None]) -> Any:
    return benchmark.Timing(ENGINES[name], "", Deaf(), 0.0, list(passes))  # type: ignore[arg-type]


def halved(name: str, seconds: float) -> Any:
    return benchmark.Timing(HALVES[name], "", Deaf(), 0.0, [(seconds, None)])  # type: ignore[arg-type]


def test_passes_that_others_disturbed_count_only_where_there_are_no_others() -> None:
    assert timing("norse", (0.9, 0.5), (1.1, 0.01), (1.2, 0.0)).best == 1.1
    assert timing("norse", (0.9, 0.5), (1.1, 0.3)).best == 0.9
    assert timing("norse", (0.9, None)).best == 0.9  # where load cannot be known


def test_ratios_are_ours_over_the_fastest_of_each_kind() -> None:
    report = Report("engine")
    timings = [
        timing("ours", (1.0, 0.0)),
        timing("convolutions", (0.8, 0.0)),
        timing("spikingjelly-s", (2.0, 0.0)),
        timing("snntorch", (4.0, 0.0)),
        timing("norse-compiled", (1.25, 0.0)),
    ]
    benchmark.report_steady(timings, 8, report)
    assert {figure.name: figure.value for figure in report.figures} == {
        "time_vs_fastest_eager_peer_T8": 0.5,
        "time_vs_fastest_peer_T8": 0.8,
        "time_vs_convolutions_T8": 1.25,
    }


def test_without_a_compiled_peer_the_fastest_of_all_is_not_told() -> None:
    report = Report("engine")
    timings = [timing("ours", (1.0, 0.0)), timing("spikingjelly-m", (2.0, 0.0))]
    benchmark.report_steady(timings, 8, report)
    assert [figure.name for figure in report.figures] == ["time_vs_fastest_eager_peer_T8"]


def test_whoever_may_still_be_the_fastest_of_a_kind_stays() -> None:
    slow = [timing(name, (seconds, 0.0)) for name, seconds in [
        ("ours", 9.0), ("spikingjelly-s", 5.0), ("spikingjelly-m", 6.0), ("snntorch", 7.0),
        ("norse", 8.0), ("norse-compiled", 1.0), ("snntorch-compiled", 2.0),
        ("spikingjelly-s-compiled", 3.0), ("spikingjelly-m-compiled", 4.0),
    ]]  # fmt: skip
    assert [kept.engine.name for kept in benchmark.contenders(slow)] == [
        "ours", "spikingjelly-s", "spikingjelly-m", "snntorch",
        "norse-compiled", "snntorch-compiled", "spikingjelly-s-compiled",
    ]  # fmt: skip


def test_a_worker_answers_and_says_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "THREADS", 1)
    worker = benchmark.Worker(ENGINES["ours"], 1, {}, tmp_path)
    seen = worker.ask("measure", iterations=2)
    assert len(seen["seconds"]) == 2
    kept = worker.ask("memory")
    # the drive, the first layer's spikes for the second, the second's for the readout
    assert kept["saved"] >= 4 * 64 * (2 * 28 * 28 + 32 * 28 * 28 + 64 * 14 * 14)
    with pytest.raises(benchmark.WorkerError, match="TypeError"):
        worker.ask("measure", turns=2)
    worker.close()


def test_a_trial_is_timed_from_the_start_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "THREADS", 1)
    monkeypatch.setattr(benchmark, "TRIAL_TIMESTEPS", (1, 2))
    trial = benchmark.run_trial(ENGINES["convolutions"], "", 1)
    assert trial.seconds > 0.25  # importing torch alone takes longer
    assert trial.compiled == trial.compiled_anew == 0


def test_unknown_engines_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--engines", "theirs"])
    assert "invalid choice: 'theirs'" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--device", "cuda"])
    assert "--device cuda needs a GPU" in capsys.readouterr().err


def test_on_a_gpu_the_aim_is_against_spikingjelly() -> None:
    report = Report("engine")
    timings = [
        timing(name, (seconds, 0.0))
        for name, seconds in (("ours", 1.0), ("spikingjelly-m", 1.5), ("norse-compiled", 2.0))
    ]
    benchmark.report_steady(timings, 8, report, device="cuda")
    figures = {figure.name: figure for figure in report.figures}
    assert figures["time_vs_spikingjelly_T8"].value == pytest.approx(1 / 1.5)
    assert figures["time_vs_spikingjelly_T8"].aim == pytest.approx(1 / 1.2)
    assert figures["time_vs_fastest_peer_T8"].aim is None
