"""Rounds without training, to measure what the network costs."""
