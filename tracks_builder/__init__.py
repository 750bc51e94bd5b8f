"""The Spark job: archives of months and years to tracks and samples (docs/tracks.md). ``main.py`` runs it, ``years.py`` year after year;
``samples.py`` and ``detect.py`` go on from its tracks."""
