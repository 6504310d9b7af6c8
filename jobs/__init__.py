"""The contract between the API and the workers: what a job is and where it lives."""
