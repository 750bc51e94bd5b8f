"""Decoded archives: tables with one report a row -> ``REPORT_DTYPE``.

| format         | what its times are                                                                         |
|----------------|--------------------------------------------------------------------------------------------|
| marinecadastre | US Coast Guard NAIS, MarineCadastre CSV or Parquet: ISO 8601, UTC                           |
| dma            | Danish Maritime Authority ``aisdk-*.csv``: day first, UTC                                    |
| tracks         | any other table, also this project's tracks: any spelling of ``times``                       |

A table is known by its columns: by their names, whatever their case, blanks and underscores (``layout_of``), in a CSV with commas, semicolons, tabs or
bars, also below comment lines. ``columns`` (our field -> its name there) says what the names do not. How the times are spelt is decided by the values.
Speeds and courses are rounded to the 0.1 of the air, so that single-precision files give the same values as sentences.

Each line end of a CSV is one row, and a bad row costs one row: ``"`` is a letter of AIS and may stand anywhere.
"""
