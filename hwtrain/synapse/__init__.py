"""Electronic synapses: conductance laws, the cells that make a weight of them, and pulsed updates."""
