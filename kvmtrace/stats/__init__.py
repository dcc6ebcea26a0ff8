"""Whether two figures differ, and by how much: intervals, tests and verdicts; knows nothing of KVM."""
