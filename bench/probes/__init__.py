"""The fail-open probes of policy, put to us and to peers in one run: what each of them did, and how it says so."""
