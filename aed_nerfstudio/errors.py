"""The one error the package raises for bad input (importable from every layer)."""


class InputError(ValueError):
    """Something the user gave cannot be used: one clear line that names the file and the mend."""
