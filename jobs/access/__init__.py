"""Who may use the service: API keys with their tenants, scopes, limits and webhooks."""
