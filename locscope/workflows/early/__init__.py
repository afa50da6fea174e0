"""What is settled, and refused, before torch is imported: in under a second."""
