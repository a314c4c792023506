"""Physics-aware training: forward through the physics, back through its twin (Wright et al., Nature 2022).

x_{l+1} = physics(x_l)        g_l = J_twin(x_l)^T g_{l+1}, at the inputs that the physics really saw
"""

from __future__ import annotations

from hwtrain.rules.backprop import Backprop


class PhysicsAware(Backprop):
    """Backpropagation, the read_t of physics being its twin's; physics without is refused."""

    floats_only = True
