"""BPF programs: what this kernel offers, loading, attaching and reading them.  Root only."""
