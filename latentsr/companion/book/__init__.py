"""The book: pages from results."""
