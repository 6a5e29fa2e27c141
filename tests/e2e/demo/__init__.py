"""The demo: the main job, end to end on real parts, three times, and everything that it claims is checked."""
