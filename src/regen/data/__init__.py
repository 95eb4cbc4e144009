"""Sources that materialise data, schemas that validate it, splits that keep it apart, versions that name it."""
