"""What the commands print: progress and tables for people, JSON lines for programs; one module a verb."""
