"""HTTP: routes, limits and problems. Never imports torch."""
