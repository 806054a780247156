"""A scene, opened and understood: pair, survey, statistics, windows."""
