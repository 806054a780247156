"""What lies on disk: grids, rasters, pairs, validity, sensors, metadata, writing."""
