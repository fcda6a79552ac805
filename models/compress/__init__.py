"""Smaller models from larger ones: a student that learns from a teacher, weights of eight bits, and weights left out. One method a file."""
