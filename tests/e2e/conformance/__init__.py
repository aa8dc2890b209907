"""Conformance with the service model."""
