"""Emulators of physical layers, one file each."""
