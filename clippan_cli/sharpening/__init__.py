"""Whole scenes in bounded memory: plan, blend, engine, journal, record, output."""
