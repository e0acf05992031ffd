"""Public data sets in their official layouts, one small adapter each: `bach10.recordings(folder)` and so on.

An adapter lists a folder and reads no audio and no notes: those are read when a `Recording` is asked for them. A
recording answers as a piece of the embedded corpus does: id, split, title, notes, multitrack(). Each adapter says in
its text what is documented where; the audio itself may not be passed on, so nothing of it is in this repository.
"""
