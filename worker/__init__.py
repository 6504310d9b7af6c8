"""Takes jobs from the queue, feeds the engine, stores the pictures, reports."""
