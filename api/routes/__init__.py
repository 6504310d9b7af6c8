"""What the service answers to, a file for each noun."""
