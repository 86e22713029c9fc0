"""The diffusion model: process, samplers, networks, conditions, training."""
