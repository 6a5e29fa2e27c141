"""A double of GitHub's Actions service for tests: strict, scriptable, loopback only.

It is written from the wire protocol's description alone and shares no code with the runner, so that one misreading
cannot hide on both sides. What a runner does wrong is recorded as a protocol error with time and place, and the
request is then answered as the real service would.
"""
