"""Running an exported model without torch: text to label, predictions, a server."""
