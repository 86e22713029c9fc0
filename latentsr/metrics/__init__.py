"""Measures of images, frequencies, hallucination and lesions."""
