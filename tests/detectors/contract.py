"""The checks ship with the package, so that a detector of another package can be held against them."""

from multitaskais.detection.checks import check, check_names_no_vessel

__all__ = ["check", "check_names_no_vessel"]
