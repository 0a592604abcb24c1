"""Artifacts: files that items made. Encoded anew by us, kept in a store, told of by a row."""
