"""The real parts that end-to-end tests and the demo run against, all on loopback."""
