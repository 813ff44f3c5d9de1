"""Google's Edge TPU: which ops will map, what can be repaired, and what a compiled package holds."""
