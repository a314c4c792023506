"""One module a verb: its flags and what it calls. ``add(verbs)`` is found by the file's name."""
