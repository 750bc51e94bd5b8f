"""Areas with a rule: where ships may not enter, leave, stop, anchor, or go too slow or too fast. Only this package knows shapely."""
