"""Virtual machines: their processes, threads, taps and vhost workers."""
