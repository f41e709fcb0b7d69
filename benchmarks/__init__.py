"""Measurements; every figure in the README is printed by one of these."""
