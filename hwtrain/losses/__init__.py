"""Losses, one file each: outputs and labels to a loss of each sample."""
