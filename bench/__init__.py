"""Side-by-side measurements of a governed call and the plain durable steps of its peers."""
