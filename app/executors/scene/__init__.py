"""The scene painter: words become a place, a time, a weather, a style and things, and are painted.

Pure but for the vendored drawings: the same (prompt, size, seed, steps) gives the same bytes in
any process. It imports nothing of the rest of the house, for it runs in a process of its own.
"""
