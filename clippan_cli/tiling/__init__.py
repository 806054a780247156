"""Whole scenes in bounded memory: plan, statistics, blend, engine, journal."""
