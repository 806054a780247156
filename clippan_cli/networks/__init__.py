"""Networks that fuse: torch modules only, one file each."""
