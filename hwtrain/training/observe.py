"""What a trial writes down about its arrays: pulses by layer, and where the conductances stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwtrain.ledger import Ledger
from hwtrain.net import Net
from hwtrain.training.array_cost import Layout, array_cost
from hwtrain.training.cost import pulse_cost

BINS = 64


def layer_figures(net: Net, ledger: Ledger, samples: int, steps: int) -> dict[str, dict[str, Any]]:
    """By array of synapses, counts since the start of training and what they cost.

    ``samples``: looked at to judge the net; ``steps``: of training; both since the start.
    """
    figures = {}
    for path, array in net.arrays():
        if array.synapse is None:
            continue
        cost = pulse_cost(ledger, path, array.synapse)
        load = ledger.of("init", path, "load")
        converter = ledger.of("train", path, "adc")
        figures[path] = {
            "pulses": cost.pulses,
            "clipped": cost.clipped,
            "energy_J": cost.energy_J,
            "time_s": cost.time_s,
            "resets": ledger.of("train", path, "write")["resets"],
            "writes": ledger.of("train", path, "write")["writes"],
            "scatters": array.synapse.variation.c2c_rel_range > 0
            or array.synapse.variation.c2c_rel_step > 0
            or array.synapse.law().draws
            or array.synapse.ageing is not None,
            "wear": array.wear(),
            "endurance": array.synapse.pulse.endurance,
            "weights": load["weights"],
            "weights_beyond": load["beyond"],
            "weights_off": load["off"],
            "off_steps": load["off_steps"],
            "adc_outputs": converter["outputs"],
            "adc_clipped": converter["adc_clipped"],
            "adc_lost": converter["adc_lost"],
            "hardware": array_cost(
                ledger, path, Layout(array.synapse, array.geometry.shape, array.branches), samples, steps
            ).as_dict(),
        }
    return figures


def histograms(net: Net, when: str) -> dict[str, dict[str, list[float]]]:
    """By array of synapses, the edges of the bins and, under the name ``when``, the cells in them.

    Cells beyond the typical range are counted in the bins at its ends.
    """
    found = {}
    for path, array in net.arrays():
        siemens = array.siemens()
        if siemens is None or array.synapse is None:
            continue
        span = array.synapse.range
        edges = np.linspace(span.g_min_S, span.g_max_S, BINS + 1)
        cells, _ = np.histogram(siemens.cpu().numpy().clip(edges[0], edges[-1]), bins=edges)
        found[path] = {"edges_S": edges.tolist(), when: cells.tolist()}
    return found
