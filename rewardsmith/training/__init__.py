"""Backends that train policies on generated rewards."""
