"""Command line: what a person starts, reads and types.

Exit codes, the same for every command:

    0    fine; the answer is yes
    1    the answer is no: a ledger or receipt does not hold, the community refused an
         order or a newcomer, there is nothing of what was asked for
    2    something that a person must mend: a wrong option, configuration, binding, key
         file, meter port, or a node that does not answer; one message on stderr says
         where, what was found, what was expected and what to do
    3    not known yet: the community has not agreed on a record so far; it may still take or
         refuse it (`meshnode record ID` asks again); or no majority confirmed a --fresh answer
    130  stopped with Ctrl-C (commands that run until then end with 0)

stdout has the answer, for people, or with `--json` for programs; stderr has progress,
logs and messages. Colours appear on terminals only.

The modules here import nothing heavy: what a command needs is imported when it runs, so
that every local command starts in a fraction of a second.
"""
