"""Devices: what flashes an image and answers frames. Verification does not know which one it talks to."""
