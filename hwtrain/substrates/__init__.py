"""Substrates, one file each: what weights live on, with all its imperfections."""
