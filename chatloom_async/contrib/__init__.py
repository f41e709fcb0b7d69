"""Optional integrations, one module each; each needs the extra of its name."""
