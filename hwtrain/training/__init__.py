"""Running trials: the loop, the engine, checkpoints and what is measured."""
