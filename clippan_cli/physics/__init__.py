"""How a satellite degrades an image: MTF, resampling, Wald's protocol, registration."""
