"""What makes media and runs tools."""
