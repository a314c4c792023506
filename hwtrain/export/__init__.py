"""What a program becomes: ``printers/`` write it, one file each; ``run.py`` runs it."""
