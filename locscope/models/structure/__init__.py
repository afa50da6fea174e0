"""How a model's layers are built: rows of parts, experts, and families that no table has."""
