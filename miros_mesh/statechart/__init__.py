"""What makes miros safe under many threads, for the charts of programs and of discovery alike."""
