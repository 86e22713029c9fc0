"""Running the study: parameters, stages, data, records."""
