"""What runs printed programs on simulated hardware, one file a simulator."""
