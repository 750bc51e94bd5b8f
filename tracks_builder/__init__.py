"""The Spark job: archives of months and years to tracks and samples (docs/tracks.md). ``main.py`` runs it, ``years.py`` year after year;
``samples.py`` goes on from its tracks."""
