"""A tiny real engine over HTTP that can misbehave, and a stand-in for the reference that agrees with it."""
