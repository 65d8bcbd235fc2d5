"""Who is asked what next (queue), whose it is (leases), hidden repeats and gold (probes), what was answered, practice before it.

`opaque` says what completions are called on the wire; `reopening` puts a task before people again.
"""
