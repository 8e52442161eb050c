"""What stages are: folders, records, places, and how they are carried out."""
