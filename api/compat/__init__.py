"""Other services' APIs over the same queue, under the same limits, for the clients they have."""
