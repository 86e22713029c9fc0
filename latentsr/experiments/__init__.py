"""The experiment: protocols, plans, arms, and their scores."""
