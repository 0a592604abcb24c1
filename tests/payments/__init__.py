"""Rails, invoices, chains and the formats of payments."""
