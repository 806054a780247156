"""Folders of weights: models and supervisors, sealed, hashed, described."""
