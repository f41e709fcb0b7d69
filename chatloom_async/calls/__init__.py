"""From a method of the client to its answer.

In the order of a call: ``request`` builds what is sent. ``cached`` answers from a cache or joins
another call, where the client has a ``Cache``. ``call`` makes the attempts and judges each;
``attempts`` is the record of them, ``retry`` repeats them. ``retry_after`` reads the headers of
waiting and limits. ``answer`` makes an error of an answer and ``redaction`` takes the key out of
it. ``wire`` and ``structure`` make a model of an answer. ``workspace`` is many calls in one.
"""
