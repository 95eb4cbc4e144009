"""What every stage needs: errors, configuration, files written whole, seeds, the project's folder, its environment."""
