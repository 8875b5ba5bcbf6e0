"""What the figures rest on, tested without installing a single peer."""
