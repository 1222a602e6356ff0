"""The optimizers are torch's, and training loads neither the compiler nor scikit-learn."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from snn.training import optimizers

ROOT = Path(__file__).parents[3]
UNUSED = ("torch._dynamo", "torch._inductor", "sklearn", "scipy", "pandas")
TRAINING = f"""
import sys
from pathlib import Path
from snn.data.dataset import split_for
from snn.settings.config import RunConfig
from snn.network.network import Task
from snn.training.plan import lower_bound, plan
from snn.training.train import Training

small = RunConfig(train_images=20, epochs=1, width=2, timesteps=2, partition="1+1")
OWN = {{}}, {{"optimizer": "sgd"}}, {{"memory_mode": "checkpointed"}}, {{"block_classes": "hard"}}
for own in OWN:
    config = small.replace(**own)
    assert plan(config, Task(image_shape=(1, 8, 8), classes=10)).peak_bytes > 0
    assert lower_bound(config, Task(image_shape=(1, 8, 8), classes=10), images=20).parameters > 0
    assert len(list(Training(config, split_for(config, Path("nowhere"), "cpu")))) == 2
    print(own, *(name for name in {UNUSED} if name in sys.modules))
"""


def steps(optimizer: Optimizer, parameter: nn.Parameter) -> torch.Tensor:
    """The parameter after some steps, the middle ones from a stored state."""
    goal = torch.linspace(-1, 1, parameter.numel())
    for step in range(6):
        optimizer.param_groups[0]["lr"] *= 0.9
        optimizer.zero_grad(set_to_none=True)
        assert parameter.grad is None
        ((parameter - goal) ** 4).sum().backward()
        optimizer.step()
        if step == 3:
            optimizer.load_state_dict(optimizer.state_dict())
    return parameter.detach()


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_steps_equal_those_of_torch(name: str) -> None:
    ours, theirs = (nn.Parameter(torch.arange(7.0)) for _ in range(2))
    if name == "adam":
        reference: Optimizer = torch.optim.Adam([theirs], lr=0.1)
        made = optimizers.adam([ours], learning_rate=0.1)
    else:
        reference = torch.optim.SGD([theirs], lr=0.01, momentum=0.9)
        made = optimizers.sgd([ours], learning_rate=0.01)
    assert isinstance(made, type(reference))
    assert torch.equal(steps(made, ours), steps(reference, theirs))
    assert not torch.equal(ours, torch.arange(7.0))


def test_training_loads_no_package_that_it_does_not_use() -> None:
    """Each worker trains in a process of its own, and would load them for its first trial."""
    ran = subprocess.run(
        [sys.executable, "-c", TRAINING], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert [line.endswith("}") for line in ran.stdout.splitlines()] == [True] * 4, ran.stdout
    assert ran.stderr == ""
