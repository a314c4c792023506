"""Printers of programs, one file each; the registered name is the file's: ``hwtrain export --to NAME``."""
