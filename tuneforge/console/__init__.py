"""How a build is shown: one interface, several implementations, all fed by build events."""
