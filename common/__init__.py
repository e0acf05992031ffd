"""The ground floor of tutti: what more than one sub-project uses. Import the modules, not this package."""
