"""Statistics over subjects: intervals, paired differences, factorial effects."""
