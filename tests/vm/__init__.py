"""Whole machines for tests: an own kernel, systemd, cgroup v2 alone, and a power switch."""
