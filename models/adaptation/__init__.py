"""Continued pre-training, in parts: `models.adapting.adapt` puts them together."""
