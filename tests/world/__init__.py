"""What tests stand on: fixtures, stand-ins of others, real servers, and patience."""
