"""Write-verify: a digital copy of the weights learns, and the cells are pulsed until they read like it.

    M <- M + change;   then, at most 5 times: read W,   n = round((M - W) / step), at most 31,   n pulses,

for the columns that changed, until a round finds nothing to pulse. M starts as what the array reads at first.
Every read is counted, and as noisy as any other. Arrays are programmed so; to train like this, and the number
of rounds, is our choice.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.kernels.xbar import BL_MAX
from hwtrain.synapse.updates._digital import Digital
from hwtrain.synapse.updates.base import Pulses, Site, Write, counted

ROUNDS = 5


class WriteVerify(Digital):
    """The digital copy M (groups, out, in_); ``known`` says whether it was read yet."""

    memory: ClassVar[tuple[str, ...]] = ("master", "known")

    def place(self, site: Site) -> None:
        """Allot M."""
        self.site = site
        self.master = site.like.new_zeros(site.shape)
        self.known = torch.zeros(1, dtype=torch.uint8)
        self.left = 0
        self.columns = torch.zeros(0, dtype=torch.long)

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """The first round."""
        if not self.known:
            for every in range(self.site.shape[0]):
                self.master[every] = self._read(torch.arange(self.site.shape[2]), every)
            self.known.fill_(1)
        self.master[write.group] += change
        self.left = ROUNDS
        self.columns = change.abs().amax(0).nonzero()[:, 0]
        return self._round(write)

    def again(self, write: Write) -> Pulses | None:
        """Rounds until nothing is left to pulse."""
        if self.left == 0 or self.columns.numel() == 0:
            return None
        return self._round(write)

    def _round(self, write: Write) -> Pulses:
        group = write.group
        self.left -= 1
        n = torch.zeros(self.site.shape[1:], dtype=torch.long, device=self.master.device)
        if self.columns.numel() > 0:
            short = (self.master[group][:, self.columns] - self._read(self.columns, group)) / write.step
            wanted = ((short.abs() + 0.5).floor() * short.sign()).clamp(-BL_MAX, BL_MAX).long()
            n[:, self.columns] = wanted
            self.columns = self.columns[wanted.abs().amax(0) > 0]
        return counted(n)

    def _read(self, columns: Tensor, group: int) -> Float[Tensor, "out columns"]:
        """These columns of the array, one read each."""
        groups, _, in_ = self.site.shape
        one = self.site.like.new_zeros(columns.numel(), groups, in_)
        one[torch.arange(columns.numel()), group, columns] = 1
        return self.site.own.read(one)[:, group].T
