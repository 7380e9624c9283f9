"""What a robot is to a model: one document, and what makes steps and commands by it.

``document.py`` is the schema, ``files.py`` reads it, ``paths.py`` finds fields in messages,
``conditions.py`` reads the end of an episode, ``reading.py`` makes parts of an observation of
messages, ``writing.py`` makes messages of an action, ``timeline.py`` makes steps of both.
"""
