"""What updates with digital memory share: tensors by name that checkpoints keep."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hwtrain.synapse.updates.base import Update


class Digital(Update):
    """An update whose attributes ``memory`` are tensors, changed in place or replaced."""

    memory: ClassVar[tuple[str, ...]]

    def live(self) -> dict[str, Tensor]:
        """The memory."""
        return {name: getattr(self, name) for name in self.memory}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        for name in self.memory:
            here = getattr(self, name)
            setattr(self, name, state[name].to(here, copy=True))
