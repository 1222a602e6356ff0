"""torch's optimizers, without what only torch.compile needs of them.

At its first step an optimizer of torch loads `torch._dynamo`, which takes longer than torch itself,
to keep the compiler out of some methods. Nothing is compiled here: the methods are taken as they
are beneath these guards.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


def adam(parameters: Iterable[nn.Parameter], *, learning_rate: float) -> Optimizer:
    """Return Adam (Kingma & Ba 2015) with torch's defaults."""
    return _Adam(parameters, lr=learning_rate)


def sgd(parameters: Iterable[nn.Parameter], *, learning_rate: float) -> Optimizer:
    """Return stochastic gradient descent with momentum 0.9."""
    return _SGD(parameters, lr=learning_rate, momentum=0.9)


def _bare(method: Callable[..., Any]) -> Any:
    return inspect.unwrap(method)


class _Unguarded(Optimizer):
    add_param_group = _bare(Optimizer.add_param_group)
    load_state_dict = _bare(Optimizer.load_state_dict)
    state_dict = _bare(Optimizer.state_dict)
    zero_grad = _bare(Optimizer.zero_grad)


class _Adam(_Unguarded, torch.optim.Adam):
    step = torch.no_grad()(_bare(torch.optim.Adam.step))


class _SGD(_Unguarded, torch.optim.SGD):
    step = torch.no_grad()(_bare(torch.optim.SGD.step))
