"""Autoencoders: what is known, how they are read, what they return."""
