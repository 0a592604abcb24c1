"""The specification: each test says a fact in a sentence, and shows it on real parts."""
