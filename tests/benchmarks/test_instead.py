"""The search that a user would write instead, and how it is held against ours."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.instead.__main__ import Found, share_of_box, until
from benchmarks.instead.script import LIBRARIES, counted, judge


def test_operations_are_spikes_times_existing_connections() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(3 * 4, 5),
    )
    convolution, linear = net[1], net[3]
    with torch.no_grad():
        convolution.weight[0, 0, 1, 1] = 0
        linear.weight[:2, 3] = 0
    seen: list[Tensor] = []
    for part in (convolution, linear):
        part.register_forward_pre_hook(lambda _, inputs: (inputs[0] > 0).float())
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with counted(net) as operations:
        net(torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)))

    expected = 0.0
    for where in torch.nonzero(seen[0]):
        alone = torch.zeros_like(seen[0])
        alone[tuple(where)] = 1
        weights = (convolution.weight != 0).float()
        expected += float(F.conv2d(alone, weights, stride=2, padding=1).sum())
    expected += float((seen[1] @ (linear.weight != 0).float().T).sum())
    assert operations[0] == expected


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_of_the_script_answers_and_learns(library: str) -> None:
    pytest.importorskip(library)
    torch.manual_seed(0)
    net = LIBRARIES[library](2, 3, 0.5, 0.0)
    images, labels = torch.randn(6, 1, 28, 28), torch.arange(6)
    F.cross_entropy(net(images), labels).backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters() if p.dim() > 1
    )
    accuracy, operations = judge(net, images, labels)
    assert 0 <= accuracy <= 1
    spikes = operations / 10  # at most, through the readout alone
    assert 0 < spikes < 3 * (2 * 14 * 14 * 4 * 9 / 10 + 4 * 7 * 7)


def test_hypervolume_of_accuracy_and_the_logarithm_of_operations() -> None:
    half = Found(seconds=1, accuracy=0.9, operations=1e5)
    assert share_of_box([half]) == pytest.approx(0.25)
    best = Found(seconds=2, accuracy=1.0, operations=1e3)
    assert share_of_box([half, best]) == pytest.approx(1)
    assert share_of_box(until([half, best], 1.5)) == pytest.approx(0.25)
    assert share_of_box([Found(seconds=0, accuracy=0.7, operations=math.inf)]) == 0
    assert share_of_box([]) == 0
