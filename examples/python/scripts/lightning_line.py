"""A Lightning module of one weight, in a file of its own: `ddp_spawn` sends it by name."""

from __future__ import annotations

from typing import Any

import pytorch_lightning
import torch


class Line(pytorch_lightning.LightningModule):
    """Learns y = 3 x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, _: int) -> Any:
        (x,) = batch
        return ((self.weight * x - 3 * x) ** 2).mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.02)
