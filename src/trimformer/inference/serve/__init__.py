"""The HTTP service: many clients' texts collected into batches for one predictor."""
