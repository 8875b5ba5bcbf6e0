"""What subjects on different stores have in common: the same loop, whatever it is made durable by."""
