"""The law that equal logs give equal alerts on every x86-64 processor: variants of it, each in a process of its own."""
