"""From a method of the client to its answer.

In the order of a call: ``request`` builds what is sent. ``cached`` answers from a cache or joins
another call, where the client has a ``Cache``. ``call`` makes the attempts, with a key from
``credentials``. ``attempts`` is the record of them, ``retry`` says what a failed one means and when
it is repeated. ``answer`` makes an error of an answer, ``wire`` and ``structure`` a model, and
``mistakes`` says why it is none. ``workspace`` is many calls in one.
"""
