"""The hard-class detector of a block: will this input need the next one?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.blocks import Block, anatomy_of, fold_for_inference
from snn.rewiring import make_rewirer
from snn.settings.config import RunConfig

STEPS = 200
LEARNING_RATE = 0.05


def fit_detector(
    config: RunConfig, index: int, block: Block, rates: Tensor, is_hard: Tensor
) -> None:
    """Give a folded block a detector, everything else frozen (BlocTrain, as reconstructed).

    Two integrators read what the class readout reads: easy and hard.
    `rates` (images, features) are mean inputs over time, enough for targets
    that integrate and never fire; `is_hard` (images,) says whether the label is
    in a hard class. Both sides weigh the same however many images they have.
    Sparse runs rewire the detector to the same target.
    """
    detector = block.head.add_detector(
        anatomy_of(config, block=index, is_folded=True, purpose="detector weights")
    )
    detector.to(rates.device)
    # numbered from the other end: not the walk of the block that has the same index
    # trained by Adam, whatever the network was trained by
    by_adam = config.replace(optimizer="adam")
    rewirer = make_rewirer([detector.connections], by_adam, index=-1 - index)
    share = is_hard.double().mean()
    weight = torch.stack([0.5 / (1 - share), 0.5 / share]).to(rates)
    optimizer = torch.optim.Adam(detector.parameters(), lr=LEARNING_RATE)
    targets = is_hard.long()
    for step in range(1, STEPS + 1):
        logits = detector.connections.apply_weight(rates, detector.connections.effective_weight())
        loss = F.cross_entropy(logits + detector.bias, targets, weight=weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if rewirer is not None:
            rewirer.before_step(step, learning_rate=LEARNING_RATE)
        optimizer.step()
        if rewirer is not None:
            rewirer.after_step(step, steps=STEPS, learning_rate=LEARNING_RATE)
    plain = fold_for_inference(config, index, block)
    block.head.detector = plain.head.detector
    block.requires_grad_(False)
