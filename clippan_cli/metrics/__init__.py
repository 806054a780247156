"""Quality indices as differentiable functions of tensors; one implementation for judge and loss."""
