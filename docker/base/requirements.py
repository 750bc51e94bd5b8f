"""``python requirements.py PYPROJECT EXTRAS``: what a project needs, one requirement a line (EXTRAS separated by commas)."""

import sys
import tomllib

with open(sys.argv[1], "rb") as f:
    project = tomllib.load(f)["project"]
needed = list(project["dependencies"])
for extra in filter(None, sys.argv[2].split(",")):
    if extra not in project["optional-dependencies"]:
        sys.exit(f"no extra {extra!r}; there are: {', '.join(project['optional-dependencies'])}")
    needed += project["optional-dependencies"][extra]
print(*needed, sep="\n")
