"""The whole stack on one machine: Redis, an S3 server, the API and a worker, as processes."""
