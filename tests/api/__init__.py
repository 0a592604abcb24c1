"""The doors over HTTP: what each route takes, answers and refuses."""
