"""Files and streams of AIS, in any archive format, to reports; what is no report is counted under its reason.

``archives.py`` reads files, ``framing.py`` finds time and sentence in a line, ``decoder.py`` decodes a sentence, ``tables/`` reads
decoded tables; ``vectorized/`` does the same for blocks of lines.
"""
