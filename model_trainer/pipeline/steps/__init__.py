"""The product's own steps, one file each: a step is done again when its file, or what that imports, changes."""
