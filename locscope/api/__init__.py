"""What `import locscope` gives: models and edits in, workflows, and their results as objects."""
