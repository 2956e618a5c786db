"""What the suite is built on: engines to test against, a small image, and the watch for anything left behind."""
