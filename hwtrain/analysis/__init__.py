"""Looking at devices and runs."""
