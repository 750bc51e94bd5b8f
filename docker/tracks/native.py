"""``python native.py JARS INTO``: take zstd's native library out of its jar.

Left there it is unpacked into /tmp and loaded from it, which a /tmp that is mounted `noexec` (Docker's default of a tmpfs) refuses.
"""

import os
import sys
import zipfile
from pathlib import Path

jar = next(Path(sys.argv[1]).glob("zstd-jni-*.jar"))
machine = {"x86_64": "amd64"}.get(os.uname().machine, os.uname().machine)
with zipfile.ZipFile(jar) as z:
    name = next(n for n in z.namelist() if n.startswith(f"linux/{machine}/") and n.endswith(".so"))
    target = Path(sys.argv[2]) / Path(name).name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(z.read(name))
