"""The shell: how money and states are changed, and what is never lost between."""
