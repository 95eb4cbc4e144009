"""The stages of a project whose rows are those of a table, where they differ from those of images."""
