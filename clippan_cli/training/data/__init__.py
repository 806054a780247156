"""Where training pixels come from: scenes, tiles, simulated pairs, images made from nothing."""
