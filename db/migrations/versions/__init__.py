"""One file a step, in order; a step that has shipped is never edited."""
