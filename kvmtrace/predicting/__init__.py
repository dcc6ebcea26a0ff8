"""What an optimisation would bring: a model's local effect, applied to the exits of a real recording.

`conditions` takes the SQL that a model's file says of one exit, `requirements` asks whether the model fits the
recording, `statement` is the one pass over the exits, `prediction` makes figures of it, and `ranking` compares models.
"""
