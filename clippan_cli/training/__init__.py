"""Samples, losses and the loop: how networks learn."""
