"""The desks: what is offered, priced, ordered and taken back."""
