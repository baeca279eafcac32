"""Composing, validating and building: the only home of Hydra, pydantic and pint."""
