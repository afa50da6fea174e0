"""The stages of a search, one file each, and what runs their trials."""
