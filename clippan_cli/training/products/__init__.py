"""What a training leaves behind: a model or a supervisor, its card, its curves and its page."""
