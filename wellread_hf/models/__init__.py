"""Models: loading and starting them, and the masked LM that scores masked positions only."""
