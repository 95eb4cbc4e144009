"""The sections of the project file, with their defaults, which are the published ones where there are such."""
