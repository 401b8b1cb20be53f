"""Environments: their fields, their success signal, the Fetch v3 ids."""
