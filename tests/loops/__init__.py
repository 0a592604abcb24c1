"""What goes on by itself: time, makers, readiness, restarts."""
