"""How a training goes on: steps, checkpoints, processes that train together."""
