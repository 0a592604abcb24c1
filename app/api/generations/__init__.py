"""One image or one film: the generations API."""
