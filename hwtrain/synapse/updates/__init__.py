"""Updates, one file each: how a wanted weight change becomes pulses."""
