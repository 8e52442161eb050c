"""The Hub: what may be pushed, pushing it safely, and checking what came down."""
