"""Optional integrations, one module each; most need the extra of their name."""
