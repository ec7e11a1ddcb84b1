"""Linearizability: whether what clients saw can be explained by one operation at a time.

    python -m tests.linearizability [--json] PATH...

`history` holds operations with the times of their call and return, `checker` searches for an
order that explains them, `models` and `ledger` say what each operation would have answered in
such an order, `recordings` reads histories from files and `verdicts` what is known about them.

A test of a real cluster writes down what its clients see, and demands an order for it::

    recorder = Recorder()
    call = recorder.called("anna", WriteRecord(record_id))
    ...                                     # hand the record to a node
    recorder.returned(call, Final(place))   # or .failed(call), or neither: nobody knows
    demand_linearizable(recorder.history(), LEDGER, tmp_path / "history.json")

To find an order is hard in general, and easy where answers tell places and heights and where every
record whose outcome was unknown is asked for once more at the end.
"""
