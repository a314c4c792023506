"""The schedules of rule ``speculative``, a module each; hwtrain/rules/speculative.py says what they do."""
