"""The refund desk: a small agent under real controls. Start with `README.md`, then `desk.py`."""
