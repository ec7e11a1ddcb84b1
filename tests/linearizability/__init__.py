"""Linearizability: whether what clients saw can be explained by one operation at a time.

    python -m tests.linearizability [--json] PATH...

`history` holds operations with the times of their call and return, `checker` searches for an
order that explains them, `models` and `ledger` say what each operation would have answered in
such an order, `recordings` reads histories from files and `verdicts` what is known about them.

A test of a real cluster needs three names::

    recorder = Recorder()
    call = recorder.called("anna", WriteRecord(record_id))
    ...                                     # hand the record to a node
    recorder.returned(call, Final(place))   # or .failed(call), or neither: unknown
    check(recorder.history(), LEDGER).demand()
"""
