"""Knowledge distillation (Hinton et al., 2015): a student learns to score like its teacher, on random requests."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import catalog

STEPS = 400
REQUESTS = 16
CANDIDATES = 16
RATE = 0.01
"""Where no layer is wider than `WIDTH`. Wider ones take smaller steps: Adam moves every weight as far, and the more of
them a sum has, the farther it moves; at this rate a wide student would end up with one score for all."""
WIDTH = 32


def imitate(student: nn.Module, teacher: nn.Module, meta: catalog.Exported) -> None:
    """Train `student` in place; both take the inputs of `meta` and give one probability for each row."""
    widest = max(layer.out_features for layer in student.modules() if isinstance(layer, nn.Linear))
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE * WIDTH / max(widest, WIDTH))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        rows = examples(meta, step)
        with torch.no_grad():
            wanted = teacher(*rows)
        loss = F.binary_cross_entropy(student(*rows), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def examples(meta: catalog.Exported, step: int) -> list[Tensor]:
    """The rows of a few requests, one below the other."""
    first = 1_000 + step * REQUESTS  # tests draw their requests from the small seeds
    requests = [catalog.draw(meta, CANDIDATES, first + number)[1] for number in range(REQUESTS)]
    return [torch.from_numpy(np.concatenate([r[name] for r in requests])) for name in requests[0]]
