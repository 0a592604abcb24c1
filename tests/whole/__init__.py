"""The whole product at once: kills, races, crashes, fuzz, simulation, other people's clients."""
