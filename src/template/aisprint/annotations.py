"""Decorators that do nothing: they inform AI-SPRINT's own tools, not the component."""


def __getattr__(name):  # PEP 562: whatever decorator a component imports
    if name.startswith("__"):
        raise AttributeError(name)

    def annotate(*args, **kwargs):
        del args, kwargs
        return lambda function: function

    return annotate
