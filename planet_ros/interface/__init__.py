"""What a robot is to a model: one document, and what makes steps and commands by it.

``document.py`` is the schema and ``files.py`` reads it. ``paths.py`` finds numbers in messages, of
which ``syntax.py`` knows how paths are written and ``structure.py`` what a message consists of.
``conditions.py`` reads the end of an episode, ``reading.py`` makes parts of an observation of
messages (by ``encodings.py``), ``writing.py`` makes messages of an action, ``signature.py`` says
what a model is made for, and ``reference.py`` makes docs/interface.md.
"""
