"""Cells, one file each: how one or more conductances make a signed weight."""
