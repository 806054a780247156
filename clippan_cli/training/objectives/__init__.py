"""What a training asks of a net: losses, and the tasks that weigh them."""
