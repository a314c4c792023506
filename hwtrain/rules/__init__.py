"""Training rules, one file each: which signal reaches which layer."""
