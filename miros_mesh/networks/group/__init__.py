"""Groups whose events are filed by their keys: one member sorts them, each handles its share."""
